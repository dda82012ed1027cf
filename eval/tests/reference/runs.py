"""Writes runs_a.trec and runs_b.trec, two runs that are cut off after 8 of 40 photos, runs_qrels.trec, and runs_scores.csv, computed
by ranx from the three files: acc@k (hit rate), MRR and mean average precision. Made with ranx 0.3.21 (pip install ranx). Scores
are distinct, as ranx leaves the order of ties open; the third and fourth query of each run have no match among their photos.

Run: python3 runs.py
"""
import pathlib

import numpy as np
from ranx import Qrels, Run, evaluate

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(12)
n_queries, n_photos, depth = 20, 40, 8
matches = [sorted(rng.choice(n_photos, size=rng.integers(1, 4), replace=False)) for _ in range(n_queries)]
with open(here / "runs_qrels.trec", "w") as out:
    for q, row in enumerate(matches):
        for g in row:
            print(f"q{q:02} 0 g{g:02} 1", file=out)
scores = []
for name in ["a", "b"]:
    with open(here / f"runs_{name}.trec", "w") as out:
        for q, row in enumerate(matches):
            score = rng.permutation(n_photos) / 4 - 3
            score[row] += 0 if q in (2, 3) else 7.1 + 0.01 * np.arange(len(row))
            order = [g for g in np.argsort(-score) if q not in (2, 3) or g not in row][:depth]
            for rank, g in enumerate(order):
                print(f"q{q:02} Q0 g{g:02} {rank + 1} {score[g]:.4f} {name}", file=out)
    qrels = Qrels.from_file(str(here / "runs_qrels.trec"), kind="trec")
    run = Run.from_file(str(here / f"runs_{name}.trec"), kind="trec")
    for ours, theirs in [("acc@1", "hit_rate@1"), ("acc@5", "hit_rate@5"), ("acc@10", "hit_rate@10"), ("mrr", "mrr"), ("map", "map")]:
        scores.append((name, ours, repr(float(evaluate(qrels, run, theirs)))))
with open(here / "runs_scores.csv", "w") as out:
    print("run,metric,value", file=out)
    for row in scores:
        print(*row, sep=",", file=out)
