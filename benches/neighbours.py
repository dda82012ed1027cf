"""The peer of `cargo xtask bench neighbours`: Kendall's tau-b of every photo's row by SciPy, distances by NumPy.

Prints seconds. Run: python3 neighbours.py N
"""
import sys
import time

import numpy as np
from scipy.stats import kendalltau

n = int(sys.argv[1])
rng = np.random.default_rng(1)
reference = rng.random((n, 2048), dtype=np.float32)
studied = rng.random((n, 1280), dtype=np.float32)
started = time.perf_counter()


def distances(space):
    space = space.astype(np.float64)
    norms = (space**2).sum(axis=1)
    return (norms[:, None] + norms[None] - 2.0 * space @ space.T) / space.shape[1]


x, y = distances(reference), distances(studied)
taus = []
for i in range(n):
    others = np.arange(n) != i
    taus.append(kendalltau(x[i, others], y[i, others]).statistic)
assert len(taus) == n and np.isfinite(taus).all()
print(time.perf_counter() - started)
