"""Ranks sketches against photos with NumPy from the files of `sketchfind embed`, and compares each query's rank with
the report's queries.csv. The distance is the mean squared difference.

Usage: acc_at_1.py EMBEDDINGS.npy MANIFEST.csv REPORT/queries.csv
"""
import csv
import sys

import numpy as np

npy, manifest, queries = sys.argv[1:]
matrix = np.load(npy).astype(np.float64)
with open(npy.removesuffix(".npy") + ".csv", newline="", encoding="utf-8") as file:
    row_of = {row["id"]: int(row["row"]) for row in csv.DictReader(file)}
assert len(row_of) == len(matrix)
with open(manifest, newline="", encoding="utf-8") as file:
    rows = [row for row in csv.DictReader(file) if row["id"] in row_of]
photos = {row["instance"]: row["id"] for row in rows if row["modality"] == "photo"}
sketches = {row["id"]: photos[row["instance"]] for row in rows if row["modality"] == "sketch"}
gallery = sorted(photos.values())
with open(queries, newline="", encoding="utf-8") as file:
    reported = {row["query_id"]: int(row["rank"]) for row in csv.DictReader(file)}
assert reported.keys() == sketches.keys()

photo_matrix = matrix[[row_of[photo] for photo in gallery]]
right = 0
for sketch, photo in sketches.items():
    distances = ((photo_matrix - matrix[row_of[sketch]]) ** 2).mean(axis=1)
    own = distances[gallery.index(photo)]
    rank = int((distances <= own).sum())  # its own place counts as one; ties count against the model
    assert rank == reported[sketch], f"{sketch}: {rank} here, {reported[sketch]} in the report"
    right += rank == 1
print(f"{right} of {len(sketches)} right, as reported to the query")
