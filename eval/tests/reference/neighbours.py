"""Writes neighbours_points.csv and, computed from it, neighbours_anchors.csv and neighbours_hubness.csv: Kendall's tau-b,
Spearman's rho, the mean displacement of ranks, and the skewness of k-occurrences. Made with SciPy 1.17.1 and NumPy 2.4.6
(pip install scipy). The points have small whole coordinates, so that distances are exact and ties are common.

Run: python3 neighbours.py
"""
import pathlib

import numpy as np
from scipy.stats import kendalltau, rankdata, skew, spearmanr

here = pathlib.Path(__file__).parent
points = np.random.default_rng(7).integers(0, 9, (40, 5))
points[30] = points[4]  # a photo that is there twice
reference, studied = points[:, :3], points[:, 3:]


def distances(space):
    return ((space[:, None] - space[None]) ** 2).mean(axis=2)


x_all, y_all = distances(reference), distances(studied)
n = len(points)
with open(here / "neighbours_points.csv", "w") as out:
    print("r0,r1,r2,s0,s1", file=out)
    for row in points:
        print(*row, sep=",", file=out)
with open(here / "neighbours_anchors.csv", "w") as out:
    print("tau_b,rho,displacement", file=out)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        x, y = x_all[i, others], y_all[i, others]
        moved = np.abs(rankdata(x) - rankdata(y)).mean()
        values = kendalltau(x, y, variant="b").statistic, spearmanr(x, y).statistic, moved
        print(*(repr(float(value)) for value in values), sep=",", file=out)
with open(here / "neighbours_hubness.csv", "w") as out:
    print("space,k,skew", file=out)
    for name, rows in [("reference", x_all), ("photo", y_all)]:
        for k in [1, 5, 10]:
            counts = np.zeros(n)
            for i in range(n):
                others = [j for j in range(n) if j != i]
                for j in sorted(others, key=lambda j: (rows[i, j], j))[:k]:
                    counts[j] += 1
            print(name, k, repr(float(skew(counts))), sep=",", file=out)
