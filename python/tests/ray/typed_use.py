"""A program as a strict type checker sees it: `mypy --strict` has nothing to say. It is not run."""

import pathlib

import ray.data
import sketchfind.ray

photos: ray.data.Dataset = sketchfind.ray.photos(pathlib.Path("photos"), exclude=["*.tmp.jpg"])
done: sketchfind.ray.Done = sketchfind.ray.embed(photos, "out", model="model", frame=0.8, workers=2, num_gpus=0.5, every=5, retry_errors=True)
numbers: tuple[int, int, int] = (done.n_photos, done.n_before, done.n_failed)
words: list[str] = [f"{id}: {error}" for id, error in done.failed]
rows: ray.data.Dataset = sketchfind.ray.embeddings(ray.data.from_items([{"id": "a", "bytes": b""}]), pathlib.Path("model"), threads=2, batch=8)
