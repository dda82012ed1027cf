"""Writes retrieval_distances.csv (queries x photos), retrieval_matches.csv and, computed by ranx from both,
retrieval_scores.csv: acc@k (hit rate), MRR and mean average precision. Made with ranx 0.3.21 (pip install ranx).
Distances are distinct, as ranx leaves the order of ties open.

Run: python3 retrieval.py
"""
import pathlib

import numpy as np
from ranx import Qrels, Run, evaluate

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(11)
n_queries, n_photos = 25, 40
distances = rng.permutation(n_queries * n_photos).reshape(n_queries, n_photos)
matches = [sorted(rng.choice(n_photos, size=rng.integers(1, 6), replace=False)) for _ in range(n_queries)]
with open(here / "retrieval_distances.csv", "w") as out:
    for row in distances:
        print(*row, sep=",", file=out)
with open(here / "retrieval_matches.csv", "w") as out:
    for row in matches:
        print(*row, sep=",", file=out)
qrels = Qrels({f"q{q:02}": {f"g{g:02}": 1 for g in row} for q, row in enumerate(matches)})
run = Run({f"q{q:02}": {f"g{g:02}": -float(d) for g, d in enumerate(row)} for q, row in enumerate(distances)})
with open(here / "retrieval_scores.csv", "w") as out:
    print("metric,value", file=out)
    for ours, theirs in [("acc@1", "hit_rate@1"), ("acc@5", "hit_rate@5"), ("acc@10", "hit_rate@10"), ("mrr", "mrr"), ("map", "map")]:
        print(ours, repr(float(evaluate(qrels, run, theirs))), sep=",", file=out)
