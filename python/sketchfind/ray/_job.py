"""A job: photos in, a folder of whole files out, each photo in one of them exactly once.

The driver alone writes. Workers give their rows to it, and it takes each photo once, whatever was done twice because a worker or a
machine was lost; a file takes its name when it is whole. So the files themselves say what is done: nothing else has to be kept in step
with them, and a job that was killed at any moment goes on from there.
"""

import contextlib
import dataclasses
import functools
import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute  # type: ignore[import-untyped]
import pyarrow.fs  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import ray
import ray.data
from ray.data import Dataset
import ray.exceptions

from .. import BadFile
from .._types import Frame
from ._embed import MOST_ROWS, Embed, Model, embedded, how_of, room
from ._photos import blocks, check_columns, columns_of, given, key, looked_at, say
from ._places import Places, is_uri

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

# What the folder is of.
# Arrow reads a folder without what begins so.
RECORD = "_sketchfind.json"
_FORMAT = 1
# Rows of a file at most, so that one is written in one go.
_FILE_ROWS = 8192
_KEY = np.dtype("S16")
# Photos with an error that are named.
_MOST_NAMED = 20


@dataclasses.dataclass(frozen=True)
class Done:
    """What a folder of embeddings has.

    >>> sketchfind.ray.Done(n_photos=1200, n_before=400, n_failed=1, failed=(("17.jpg", "it is empty"),)).n_before
    400
    """

    n_photos: int
    """Photos: each is one row."""
    n_before: int
    """Of these, how many were done when the job began."""
    n_failed: int
    """Of these, how many have an error in the place of an embedding."""
    failed: tuple[tuple[str, str], ...] = ()
    """The first of those: ids and errors."""


def embed(
    photos: Dataset,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    frame: Frame = "card",
    workers: int | None = None,
    threads: int = 1,
    num_gpus: float = 0,
    batch: int | None = None,
    max_pixels: int | None = None,
    filesystem: Any = None,
    every: float = 30.0,
    retry_errors: bool = False,
) -> Done:
    """Embeds a data set of photos into files of embeddings in the folder or URI `out`, each photo in one row of one file.

    Call it again with the same photos, model and frame after whatever has ended it: it goes on where it was, and does nothing where all
    is done. Other photos or another model are refused. The photos are looked at once before that, without their bytes: an id that
    stands there twice is refused. One that cannot be read is a row with an `error`; `retry_errors` tries those again.

    What is done is written every so many seconds, `every`, by the process that calls this: `out` need not be seen by the others. All
    else is as for `embeddings`.

    >>> done = sketchfind.ray.embed(sketchfind.ray.photos("photos"), "embedded", model=model, frame="off")
    >>> sketchfind.ray.embed(sketchfind.ray.photos("photos"), "embedded", model=model, frame="off").n_before
    2
    >>> shop = sketchfind.Retriever("shop.gallery", writable=True)
    >>> shop.import_embeddings("embedded").n_added
    2
    """
    how = how_of(frame, threads, num_gpus, batch, max_pixels, filesystem)
    if every < 0:
        raise ValueError(f"every is {every}, expected 0 or more seconds")
    taken = Model.of(model, frame)
    check_columns(columns_of(photos), "the data set of photos")
    keys, photos_print = _look(photos, how.folder)
    folder = _Folder(os.fspath(out), Places(filesystem if is_uri(os.fspath(out)) else None))
    with folder.locked():
        folder.begin(_Plan(taken.fingerprint, taken.width, taken.frame, len(keys), photos_print))
        if retry_errors:
            folder.drop_errors()
        written = folder.written()
        is_done = np.isin(keys, written.keys)
        n_before = int(is_done.sum())
        if n_before != len(written.keys):
            raise BadFile(f"'{folder.name}' has {len(written.keys) - n_before} rows that are none of these photos, or twice there")
        if n_before == len(keys):
            say.info("all %d photos are done already: nothing is left to do", len(keys))
            return Done(len(keys), n_before, written.n_failed, tuple(written.failed))
        if n_before:
            say.info("going on in '%s': %d of %d photos are done", folder.name, n_before, len(keys))
        n_workers = workers or room(threads, num_gpus)
        rows = max(1, min(MOST_ROWS, -(-(len(keys) - n_before) // (4 * n_workers))))
        pieces = photos.repartition(target_num_rows_per_block=rows)
        done = ray.put(keys[is_done]) if n_before else None
        made = embedded(pieces, ray.put(taken), how, n_workers, num_gpus, done)
        writer = _Writer(folder, Embed.schema(taken.width), keys, is_done, written, every)
        # Whatever ends this, what has been embedded is kept.
        with contextlib.closing(writer):
            for table in blocks(made):
                writer.take(table)
        n_missing = int((~writer.is_done).sum())
        if n_missing:
            raise RuntimeError(f"Ray has lost {n_missing} of {len(keys)} photos; the same call goes on with them")
        return Done(len(keys), n_before, written.n_failed, tuple(written.failed))


def _look(photos: Dataset, folder: str | None) -> tuple[Any, str]:
    """The sorted keys of all photos, and a fingerprint of them that is the same in every order."""
    names = columns_of(photos)
    columns = [name for name in names if name != "bytes"]
    keys: list[Any] = []
    total = np.zeros(2, np.uint64)
    looked = photos.select_columns(columns).map_batches(
        functools.partial(looked_at, folder=folder, has_bytes="bytes" in names), batch_size=None, batch_format="pyarrow"
    )
    for table in blocks(looked):
        problem = next((problem for problem in table["problem"].to_pylist() if problem is not None), None)
        if problem is not None:
            raise ValueError(problem)
        keys.append(np.array(table["key"].to_pylist(), _KEY))
        prints = np.frombuffer(b"".join(table["print"].to_pylist()), np.uint64)
        total += prints.reshape(-1, 2).sum(axis=0, dtype=np.uint64)
    every_key = np.sort(np.concatenate(keys)) if keys else np.array([], _KEY)
    if len(every_key) == 0:
        raise ValueError("the data set of photos is empty")
    twice = every_key[1:][every_key[1:] == every_key[:-1]]
    if len(twice):
        raise ValueError(_told_twice(photos.select_columns(columns), twice[0], len(twice), folder))
    return every_key, total.tobytes().hex()


def _told_twice(photos: Dataset, twice: Any, n: int, folder: str | None) -> str:
    own = bytes(twice).ljust(16, b"\0")
    places = []
    for table in blocks(photos):
        for row in given(table, folder):
            if isinstance(row.id, str) and key(row.id) == own:
                id = row.id
                places.append(f"'{row.source}'")
    more = f", and {n - 1} more ids do" if n > 1 else ""
    return f"the id '{id}' stands {len(places)} times among the photos ({', '.join(places[:3])}){more}; ids are unique"


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a folder's embeddings are of."""

    model_sha256: str
    width: int
    frame: tuple[float, float] | None
    n_photos: int
    photos: str

    def text(self) -> str:
        return json.dumps({"magic": "sketchfind-ray", "format": _FORMAT, **dataclasses.asdict(self)}, indent=1)


@dataclasses.dataclass
class _Written:
    """What the files of a folder have."""

    keys: Any
    n_failed: int
    failed: list[tuple[str, str]]

    def count(self, table: pa.Table) -> None:
        broken = table.filter(pa.compute.is_valid(table["error"])).select(["id", "error"])
        self.n_failed += broken.num_rows
        rows = broken.slice(0, max(0, _MOST_NAMED - len(self.failed))).to_pylist()
        self.failed.extend((row["id"], row["error"]) for row in rows)


class _Folder:
    """A folder of files of embeddings, here or in a store. A name that begins with a point is of a file that is not whole: nobody reads
    it, and the next job takes it away."""

    def __init__(self, out: str, places: Places) -> None:
        self.name = out
        self._fs, self._path = places.at(out)
        self._is_local = isinstance(self._fs, pyarrow.fs.LocalFileSystem)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second job out of a local folder. The system takes the lock from whom it ends."""
        self._fs.create_dir(self._path, recursive=True)
        if not self._is_local or fcntl is None:
            yield
            return
        with open(f"{self._path}/.lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(11, "another job writes to it", self.name) from None
            yield

    def begin(self, plan: _Plan) -> None:
        """Takes the folder for a job, or goes on with the same; another one's is refused."""
        self._sweep()
        record = f"{self._path}/{RECORD}"
        if self._fs.get_file_info(record).type == pa.fs.FileType.NotFound:
            if other := self._files():
                raise BadFile(f"'{self.name}' has '{other[0]}' and no {RECORD}: it is not of such a job; expected an empty folder")
            self._put(RECORD, plan.text().encode())
            return
        with self._fs.open_input_stream(record) as stream:
            text = stream.read()
        try:
            found = json.loads(text)
            if (found["magic"], found["format"]) != ("sketchfind-ray", _FORMAT):
                raise ValueError
            frame = None if found["frame"] is None else tuple(found["frame"])
            there = _Plan(found["model_sha256"], found["width"], frame, found["n_photos"], found["photos"])
        except (ValueError, KeyError, TypeError):
            raise BadFile(f"'{record}' is damaged, or of a newer version") from None
        beginning = f"'{self.name}' has embeddings"
        if there.model_sha256 != plan.model_sha256:
            raise BadFile(f"{beginning} by the model {there.model_sha256}, and {plan.model_sha256} was named; name another folder")
        if there.frame != plan.frame:
            raise BadFile(f"{beginning} with the frame {_framed(there.frame)}, and {_framed(plan.frame)} was asked for; name another folder")
        if (there.n_photos, there.photos) != (plan.n_photos, plan.photos):
            number = f"{there.n_photos} photos, not these {plan.n_photos}"
            same = f"{there.n_photos} other photos: an id, a place, labels or a product differ"
            raise BadFile(f"{beginning} of {same if there.n_photos == plan.n_photos else number}; name another folder")

    def written(self) -> _Written:
        """What the files have."""
        written = _Written(np.array([], _KEY), 0, [])
        keys: list[bytes] = []
        for file in self._files():
            table = self._read(file, ["id", "error"])
            written.count(table)
            keys.extend(key(id) for id in table["id"].to_pylist())
        written.keys = np.array(keys, _KEY)
        return written

    def drop_errors(self) -> None:
        """Takes the rows with an error away, so that these photos are not done."""
        for file in self._files():
            table = self._read(file)
            kept = table.filter(pa.compute.is_null(table["error"]))
            if kept.num_rows == table.num_rows:
                continue
            if kept.num_rows:
                self.write(kept, file)
            else:
                self._fs.delete_file(f"{self._path}/{file}")

    def write(self, table: pa.Table, file: str | None = None) -> None:
        """Writes a whole file, under a new name where none is given."""
        sink = pa.BufferOutputStream()
        # Embeddings repeat nothing that a dictionary or a codec could save.
        others = [name for name in table.column_names if name != "embedding"]
        compression = {f"{name}.list.element" if name == "labels" else name: "snappy" for name in others}
        compression["embedding.list.element"] = "none"
        pq.write_table(table, sink, compression=compression, use_dictionary=["labels.list.element", "error", "model", "product"])
        self._put(file or f"{uuid.uuid4().hex}.parquet", sink.getvalue())

    def _read(self, file: str, columns: list[str] | None = None) -> pa.Table:
        try:
            return pq.read_table(f"{self._path}/{file}", columns=columns, filesystem=self._fs, partitioning=None)
        except (pa.ArrowInvalid, KeyError, OSError) as error:
            raise BadFile(f"'{self.name}/{file}' cannot be read: {error}") from None

    def _files(self) -> list[str]:
        """What an import would read."""
        return [name for name in self._names() if name.endswith((".parquet", ".npy")) and not name.startswith(".")]

    def _names(self) -> list[str]:
        listing = self._fs.get_file_info(pa.fs.FileSelector(self._path, allow_not_found=True))
        return sorted(info.base_name for info in listing if info.type == pa.fs.FileType.File)

    def _sweep(self) -> None:
        for name in self._names():
            if name.startswith(".partial-"):
                self._fs.delete_file(f"{self._path}/{name}")

    def _put(self, name: str, content: Any) -> None:
        partial, whole = f"{self._path}/.partial-{uuid.uuid4().hex}", f"{self._path}/{name}"
        if not self._is_local:
            with self._fs.open_output_stream(partial) as stream:
                stream.write(content)
            self._fs.move(partial, whole)
            return
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, whole)
        # The name is kept too.
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _framed(frame: tuple[float, float] | None) -> str:
    return "off" if frame is None else f"{frame[0]:g} (for products that fill less than {frame[1]:g})"


class _Writer:
    """Takes each photo once, and writes them in files."""

    def __init__(
        self, folder: _Folder, schema: pa.Schema, keys: Any, is_done: Any, written: _Written, every: float
    ) -> None:
        self._folder, self._schema, self._keys, self._written, self._every = folder, schema, keys, written, every
        self.is_done = is_done.copy()
        self._waiting: list[pa.Table] = []
        self._since = time.monotonic()

    def take(self, table: pa.Table) -> None:
        """Takes rows; those of photos that it has already are the same, of work that was done twice."""
        at = np.searchsorted(self._keys, np.array([key(id) for id in table["id"].to_pylist()], _KEY))
        _, first = np.unique(at, return_index=True)
        new = np.sort(first[~self.is_done[at[first]]]) if len(at) else at
        self.is_done[at[new]] = True
        if len(new):
            self._waiting.append(table.take(new).cast(self._schema))
        n_waiting = sum(table.num_rows for table in self._waiting)
        if n_waiting >= _FILE_ROWS or time.monotonic() - self._since >= self._every:
            self.close()
            say.info("%d of %d photos are done", int(self.is_done.sum()), len(self.is_done))

    def close(self) -> None:
        """Writes what waits."""
        waiting, self._waiting = self._waiting, []
        self._since = time.monotonic()
        if waiting:
            table = pa.concat_tables(waiting)
            self._folder.write(table)
            self._written.count(table)
