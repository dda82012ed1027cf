"""Embed photos on many machines, by Ray Data: photos in, files of embeddings out, which every gallery can import.

>>> import ray, sketchfind.ray
>>> photos = sketchfind.ray.photos("photos")
>>> done = sketchfind.ray.embed(photos, "embedded", model=model)
>>> done.n_photos, done.n_failed
(2, 0)

What is done is told by the files alone: a job that was killed is begun again with the same words, and goes on where it was.
"""

import os

# Ray reports to its makers what it is used for, unless it finds this when it starts. Whoever has chosen otherwise has chosen.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import pyarrow as _pyarrow  # type: ignore[import-untyped]  # noqa: F401
    import ray.data as _ray_data  # noqa: F401
except ImportError as _missing:
    raise ImportError(f"sketchfind.ray needs Ray Data: pip install 'sketchfind[ray]' ({_missing})", name=_missing.name) from None

from ._embed import Embed, embeddings
from ._job import Done, embed
from ._photos import photos

__all__ = ["Done", "Embed", "embed", "embeddings", "photos"]

for _thing in (Done, Embed, embed, embeddings, photos):
    # Where programs name them from.
    _thing.__module__ = "sketchfind.ray"
