"""The actor that holds one embedder, and the data set of embeddings that such actors make."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import ray.data
from ray.data import Dataset

from .. import Embedder, _native  # type: ignore[attr-defined]
from .._types import Frame
from ._photos import Given, as_text, check_columns, columns_of, given, key
from ._places import Places

# Files that are read at once and ahead of the network: a store takes its time to answer.
_READERS = 16
# Photos that one task embeds, and so what the loss of a worker costs; index build acknowledges as many at once.
MOST_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Model:
    """A model as a driver takes it along, so that no other machine needs its folder."""

    fingerprint: str
    width: int
    frame: tuple[float, float] | None
    files: dict[str, bytes]

    @classmethod
    def of(cls, folder: str | os.PathLike[str], frame: Frame) -> "Model":
        fingerprint, width, photo_frame, names = _native._model(folder, frame)
        files = {name: pathlib.Path(folder, name).read_bytes() for name in names}
        return cls(fingerprint, width, photo_frame, files)

    def unpacked(self) -> str:
        """Its folder on this machine: made once for a person, and used by every worker after that."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        above = pathlib.Path(tempfile.gettempdir(), f"sketchfind-{_user()}")
        above.mkdir(mode=0o700, exist_ok=True)
        # Nobody else may put another model there.
        if hasattr(os, "getuid") and (above.stat().st_uid != os.getuid() or above.is_symlink()):
            raise PermissionError(13, "it belongs to somebody else; name another temporary folder by TMPDIR", str(above))
        folder = above / f"model-{digest.hexdigest()}"
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=above, prefix=".model-") as partial:
                new = pathlib.Path(partial, "model")
                for name, content in self.files.items():
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    (new / name).write_bytes(content)
                try:
                    new.rename(folder)
                except OSError:
                    # Another worker was faster.
                    if not folder.exists():
                        raise
        return str(folder)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "model"


@dataclasses.dataclass(frozen=True)
class How:
    """How an actor embeds."""

    frame: Frame = "card"
    threads: int = 1
    device: str = "cpu"
    batch: int | None = None
    max_pixels: int | None = None
    filesystem: Any = None
    # Where relative paths begin; those of a file system that was given are its own.
    folder: str | None = None


class Embed:
    """An actor of Ray Data that holds one embedder: photos in, rows of the project's schema out. `embeddings` makes such actors.

    >>> from sketchfind.ray import Embed
    >>> Embed.schema(512).field("embedding").type
    FixedSizeListType(fixed_size_list<element: float not null>[512])
    """

    def __init__(self, model: Any, how: Any, done: Any = None) -> None:
        self._model: Model = ray.get(model)
        self._how: How = how
        # The sorted keys of photos that are done already.
        self._done = None if done is None else ray.get(done)
        self._places = Places(how.filesystem)
        self._embedder = Embedder(
            self._model.unpacked(), threads=how.threads, device=how.device, batch=how.batch, max_pixels=how.max_pixels
        )
        self._readers = concurrent.futures.ThreadPoolExecutor(_READERS)

    @staticmethod
    def schema(width: int) -> pa.Schema:
        """The schema of files of embeddings that are so wide.

        >>> sketchfind.ray.Embed.schema(512).names
        ['id', 'embedding', 'labels', 'source', 'sha256', 'error', 'model', 'product']
        """
        texts = pa.list_(pa.field("element", pa.string(), nullable=False))
        return pa.schema([
            pa.field("id", pa.string(), nullable=False),
            ("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False), width)),
            ("labels", texts),
            *((name, pa.string()) for name in ("source", "sha256", "error", "model", "product")),
        ])

    def __call__(self, table: pa.Table) -> pa.Table:
        """The embeddings of the photos of `table` that are not done, or what is wrong with them."""
        rows = list(given(table, self._how.folder))
        contents = table["bytes"] if "bytes" in table.column_names else None
        wanted = [number for number, row in enumerate(rows) if not self._is_done(row.id)]
        errors: dict[int, str] = {n: error for n in wanted if (error := rows[n].error) is not None}
        sha256: dict[int, str] = {}
        fed: list[int] = []

        def pictures() -> Iterator[bytes]:
            """The bytes of those that can be read, in order; a few are read ahead."""
            ahead: collections.deque[tuple[int, concurrent.futures.Future[tuple[bytes, str]]]] = collections.deque()
            rest = iter([n for n in wanted if n not in errors])
            while True:
                while len(ahead) < _READERS and (n := next(rest, None)) is not None:
                    ahead.append((n, self._readers.submit(self._read, rows[n], contents, n)))
                if not ahead:
                    return
                number, reading = ahead.popleft()
                try:
                    content, sha256[number] = reading.result()
                except Exception as error:  # Whatever keeps a photo from being read costs this one alone.
                    errors[number] = _words(error)
                    continue
                fed.append(number)
                yield content

        values, broken = self._embedder.embed_photos(_Sized(pictures(), len(wanted)), frame=self._how.frame)
        errors.update((fed[position], reason) for position, reason in broken.items())
        embedded = iter(values)
        matrix = np.zeros((len(wanted), self._model.width), np.float32)
        for place, n in enumerate(wanted):
            if n not in errors:
                matrix[place] = next(embedded)
        is_broken = pa.array([n in errors for n in wanted], pa.bool_())
        schema = self.schema(self._model.width)
        columns = {
            "id": [rows[n].id for n in wanted],
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(matrix.reshape(-1)), type=schema.field("embedding").type, mask=is_broken
            ),
            "labels": [rows[n].labels for n in wanted],
            "source": [as_text(rows[n].source) for n in wanted],
            "sha256": [sha256.get(n) for n in wanted],
            "error": [errors.get(n) for n in wanted],
            "model": [self._model.fingerprint] * len(wanted),
            "product": [rows[n].product for n in wanted],
        }
        return pa.table(columns, schema=schema)

    def _is_done(self, id: str) -> bool:
        if self._done is None:
            return False
        own = np.array(key(id), self._done.dtype)
        at = int(np.searchsorted(self._done, own))
        return at < len(self._done) and bool(self._done[at] == own)

    def _read(self, row: Given, contents: Any, number: int) -> tuple[bytes, str]:
        if contents is None:
            if row.place is None:
                raise ValueError("it has neither path nor URI")
            content = self._places.read(row.place, self._embedder.max_bytes)
        else:
            content = contents[number].as_py()
            if content is None:
                raise ValueError("it has no bytes")
        return content, hashlib.sha256(content).hexdigest()


class _Sized:
    """Pictures of which is known how many there are at most, so that no more threads are started than these are worth."""

    def __init__(self, pictures: Iterator[bytes], n: int) -> None:
        self._pictures, self._n = pictures, n

    def __iter__(self) -> Iterator[bytes]:
        return self._pictures

    def __len__(self) -> int:
        return self._n


def _words(error: Exception) -> str:
    """What is wrong with a file that could not be read."""
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return f"it cannot be read: {error or type(error).__name__}"


def embeddings(
    photos: Dataset,
    model: str | os.PathLike[str],
    *,
    frame: Frame = "card",
    workers: int | None = None,
    threads: int = 1,
    num_gpus: float = 0,
    batch: int | None = None,
    max_pixels: int | None = None,
    filesystem: Any = None,
) -> Dataset:
    """The embeddings of a data set of photos, as a data set of Ray in the schema of files of embeddings: to be worked with further.
    `embed` writes them so that nothing is lost.

    `photos` is what `photos` gives, or any data set with a column `path`, `uri` or `bytes`. `frame` is how photos are framed: as the
    model's "card" says, "off", or so that products fill at least a share of the page. There are up to `workers` actors, by default as
    many as the cluster has room for; each has `threads` processors and `num_gpus` GPUs. `batch` and `max_pixels` are as for
    `Embedder`; `filesystem`, of Arrow or fsspec, is for paths and URIs that need more than their text.

    >>> dataset = sketchfind.ray.embeddings(sketchfind.ray.photos("photos"), model)
    >>> [row["error"] for row in dataset.take_all()]
    [None, None]
    """
    check_columns(columns_of(photos), "the data set of photos")
    how = how_of(frame, threads, num_gpus, batch, max_pixels, filesystem)
    return embedded(photos, ray.put(Model.of(model, frame)), how, workers or room(threads, num_gpus), num_gpus)


def how_of(
    frame: Frame, threads: int, num_gpus: float, batch: int | None, max_pixels: int | None, filesystem: Any
) -> How:
    if threads < 1:
        raise ValueError(f"threads is {threads}, expected 1 or more")
    if num_gpus < 0:
        raise ValueError(f"num_gpus is {num_gpus}, expected 0 or more")
    folder = os.getcwd() if filesystem is None else None
    return How(frame, threads, "cuda" if num_gpus else "cpu", batch, max_pixels, filesystem, folder)


def room(threads: int, num_gpus: float) -> int:
    """How many workers the cluster has room for, at least 1."""
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    of_gpus = [int(has.get("GPU", 0) / num_gpus)] if num_gpus else []
    return max(1, min([int(has.get("CPU", 0) / threads), *of_gpus]))


def embedded(photos: Dataset, model: Any, how: How, workers: int, num_gpus: float, done: Any = None) -> Dataset:
    """`embeddings` with a model that is among Ray's objects already, without photos that are `done`."""
    return photos.map_batches(
        Embed,
        batch_size=None,
        batch_format="pyarrow",
        # Not all from the beginning: an actor whose machine is gone finds a place only where another has left one.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=how.threads,
        num_gpus=num_gpus or None,
        fn_constructor_kwargs={"model": model, "how": how, "done": done},
    )
