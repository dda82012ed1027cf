"""Runs the lines of docs/reading.md in a folder that has the files that they name. Made with pandas 3.1.1, polars 2.1.0 and NumPy 2.4.6
(pip install pandas polars).

    sketchfind eval --model M --data D --trec --out report
    sketchfind embed --model M --data D --modality photos --out photos.npy
    sketchfind calibrate --model M --data D --out calibration.json
    sketchfind index build --model M --photos D/photo --out gallery
    sketchfind query --gallery gallery --calibration calibration.json --format csv D/sketch/*.png > hits.csv
    sketchfind query --gallery gallery --calibration calibration.json --format json D/sketch/*.png > hits.json

Run there: python3 read_files.py
"""
import pathlib
import re

page = pathlib.Path(__file__).parents[2] / "docs" / "reading.md"
names = {}
for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
    exec(block, names)  # our own page
summary, queries, same, top = (names[name] for name in ["summary", "queries", "same", "top"])
assert summary.loc["acc@1", "n"] == len(queries) == len(same)
assert (queries["rank"] == 1).mean() == summary.loc["acc@1", "value"]
assert all(ids[0] == first for ids, first in zip(top, queries["first_id"]))
assert list(same["query_id"]) == list(queries["query_id"])
found = names["run"].merge(names["qrels"], on=["query", "photo"]).groupby("query")["rank"].min()
assert list(found[queries["query_id"]]) == list(queries["rank"])
assert names["embeddings"].dtype == "float32" and len(names["embeddings"]) == len(names["ids"])
assert names["hits"]["score"].between(0, 1).all() and len(names["hits"]) == len(names["hits_too"])
assert {"false_answers", "wrong_answers"} <= set(names["measured"]["metric"])
print("read", len(queries), "queries,", len(names["hits"]), "hits,", len(names["measured"]), "figures of a calibration")
