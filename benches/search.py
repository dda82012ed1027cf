"""Times the peers' search, for `cargo xtask bench runtime`.

    python search.py faiss-flat|faiss-hnsw|hnswlib|usearch FOLDER WIDTH THREADS

reads `base.f32` and `queries.f32` from FOLDER and writes what it timed as one line of JSON. Graphs are built with 16
neighbours (32 in the lowest layer) and 200 candidates on all threads that are given, and searched on one and on all, with
as many candidates as each recall needs; the truth is faiss's exact index.
"""

import gc
import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np

K = 10
M = 16
EF_CONSTRUCTION = 200
RECALLS = [0.95, 0.99]
MOST_CANDIDATES = 1024


def read(folder, name, width):
    return np.fromfile(Path(folder) / f"{name}.f32", dtype="<f4").reshape(-1, width)


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def rate(n, work):
    """Queries a second, where `work` answers `n`: the best of three, each of at least a second."""
    best = 0.0
    for _ in range(3):
        started, n_done = time.perf_counter(), 0
        while time.perf_counter() - started < 1.0:
            work()
            n_done += n
        best = max(best, n_done / (time.perf_counter() - started))
    return best


def flat(base, queries, threads):
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(base.shape[1])
    index.add(base)
    index.search(queries, K)
    batch = rate(len(queries), lambda: index.search(queries, K))
    turn = iter(range(1 << 62))

    def one():
        number = next(turn) % len(queries)
        index.search(queries[number : number + 1], K)

    return {"batch": batch, "one": rate(1, one)}


def faiss_hnsw(base, threads):
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(base.shape[1], M)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(base)

    def search(queries, ef, threads):
        faiss.omp_set_num_threads(threads)
        index.hnsw.efSearch = ef
        return index.search(queries, K)[1]

    return search


def hnswlib_hnsw(base, threads):
    import hnswlib

    index = hnswlib.Index(space="l2", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
    index.set_num_threads(threads)
    index.add_items(base)

    def search(queries, ef, threads):
        index.set_num_threads(threads)
        index.set_ef(ef)
        return index.knn_query(queries, k=K)[0]

    return search


def usearch_hnsw(base, threads):
    from usearch.index import Index

    # Its connectivity is that of the upper layers, as the others' is.
    index = Index(
        ndim=base.shape[1],
        metric="l2sq",
        dtype="f32",
        connectivity=M,
        expansion_add=EF_CONSTRUCTION,
    )
    index.add(np.arange(len(base)), base, threads=threads)

    def search(queries, ef, threads):
        index.expansion_search = ef
        return index.search(queries, K, threads=threads).keys

    return search


def graph(make, base, queries, threads):
    faiss.omp_set_num_threads(threads)
    exact = faiss.IndexFlatL2(base.shape[1])
    exact.add(base)
    truth = exact.search(queries, K)[1]
    del exact
    gc.collect()
    before = resident()
    started = time.perf_counter()
    search = make(base, threads)
    build = time.perf_counter() - started
    memory = resident() - before

    def recall(ef):
        found = search(queries, ef, threads)
        return sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth)) / truth.size

    points = []
    for target in RECALLS:
        low, high = K, MOST_CANDIDATES
        while low < high:
            middle = (low + high) // 2
            if recall(middle) >= target:
                high = middle
            else:
                low = middle + 1
        rates = [rate(len(queries), lambda: search(queries, low, n)) for n in [1, threads]]
        points.append({"ef": low, "recall": recall(low), "rates": rates})
    return {"build": build, "memory": memory, "points": points}


GRAPHS = {"faiss-hnsw": faiss_hnsw, "hnswlib": hnswlib_hnsw, "usearch": usearch_hnsw}

if __name__ == "__main__":
    what, folder, width, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    base, queries = read(folder, "base", width), read(folder, "queries", width)
    if what == "faiss-flat":
        measured = flat(base, queries, threads)
    else:
        measured = graph(GRAPHS[what], base, queries, threads)
    print(json.dumps(measured))
