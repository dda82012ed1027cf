"""A program as a strict type checker sees it: `mypy --strict` and `pyright` have nothing to say. It is not run."""

import io
import pathlib
from collections.abc import Iterator

import numpy as np
import sketchfind
from numpy.typing import NDArray
from PIL import Image


def pictures() -> Iterator[sketchfind.Image]:
    yield "photo.png"
    yield pathlib.Path("photo.png")
    yield b"bytes"
    yield bytearray()
    yield memoryview(b"")
    yield io.BytesIO()
    yield open("photo.png", "rb")
    yield np.zeros((4, 4, 3), dtype=np.uint8)
    yield np.zeros((4, 4))
    yield Image.open("photo.png")


class Bar:
    def update(self, n: int) -> None:
        print(n)


def told(n_done: int, total: int | None) -> None:
    print(n_done, total)


sketchfind.create("shop.gallery", pathlib.Path("model"), "hnsw", frame=0.8)
with sketchfind.Retriever("shop.gallery", writable=True, sessions=2, frame="off") as shop:
    done: sketchfind.Ingested = shop.ingest(["a"], ["a.png"], [["boots"]], on_broken="skip", progress=told)
    reasons: list[str] = [broken.reason for broken in done.broken]
    shop.add_batch((photo.id for photo in shop.photos()), pictures(), [None, {"boots"}], replace=True, progress=True)
    matches: list[sketchfind.Match] = shop.query(Image.new("RGB", (2, 2)), k=3, without_ids={"a"})
    first: tuple[str, float, int, tuple[str, ...]] = (
        matches[0].id,
        matches[0].distance,
        matches[0].rank,
        matches[0].labels,
    )
    ids, rows = shop.embeddings()
    each: list[list[sketchfind.Match]] = shop.query_embeddings(rows, any_label=iter(["boots"]))
    embedded: NDArray[np.float32] = shop.embed(pictures(), progress=Bar())
    recall = shop.measure_recall(progress=told)
    share: float = recall.value if recall else 1.0
    strokes = sketchfind.Strokes((512, 512), [[(1, 2), (3, 4)], np.zeros((3, 2))])
    point: tuple[float, float] = strokes.lines[0][0]
    few: list[sketchfind.Match] = shop.query(strokes, exact=True) + shop.query_embedding(rows[0], ef=50)
    shop.set_index("exact")
    shop.add("b", "b.png", product="boot")
    shop.add_batch(["c"], pictures(), products=[None])
    products: set[str | None] = {match.product for match in shop.query("a.png", by_product=True, only_products=["boot"])}
    shop.compact(progress=True)
sketchfind.create("ready.gallery", width=2, distance="cosine", model_sha256="ab" * 32, index="hnsw")
with sketchfind.Retriever("ready.gallery", by_turns=True, calibration=pathlib.Path("calibration.json")) as ready:
    ready.add_embeddings(["a"], np.zeros((1, 2), np.float32), [None], [pathlib.Path("a.png")], replace=True)
    ready.add_embeddings(iter(["b"]), [[1.0, 2.0]])
    imported: sketchfind.Imported = ready.import_embeddings("in.parquet", replace=True, progress=Bar())
    errors: list[str] = [row.error for row in imported.failed]
    exported: sketchfind.Exported = ready.export_embeddings(pathlib.Path("out.npy"))
    answer: sketchfind.Answer = ready.answer_embedding([1.0, 2.0], 5, "auto", any_label={"boots"}, ef=100)
    why: tuple[str, str] | None = (answer.nothing.code, answer.nothing.reason) if answer.nothing else None
    score: float | None = answer.matches[0].score
    sure: sketchfind.Answer = ready.answer(strokes, min_score=0.5)
copied: int = sketchfind.copy("ready.gallery", "backup.gallery", replace=True).n_shared
try:
    sketchfind.verify("model")
except sketchfind.Error as error:
    code: str = error.code
