"""Which photos there are: of a folder, of a store, of a list in Parquet, or of any data set of Ray."""

import functools
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.fs  # type: ignore[import-untyped]
import ray.data
from ray.data import Dataset

from .. import _native  # type: ignore[attr-defined]
from ._places import Places, absolute, is_uri

say = logging.getLogger("sketchfind.ray")

# What a data set of photos may have; of the places of a photo's bytes the first that is there counts.
PLACES = ("bytes", "uri", "path")
COLUMNS = ("id", *PLACES, "source", "labels", "product", "error")
# Rows of a block of a list that the driver has made.
_BLOCK = 1 << 16
# Lines about one matter, before the rest is a number.
_MOST_LINES = 20


class Given(NamedTuple):
    """A row of a data set of photos."""

    id: Any
    place: str | None
    source: str | None
    labels: Any
    product: Any
    error: str | None


def photos(photos: str | os.PathLike[str], *, exclude: Sequence[str] = (), filesystem: Any = None) -> Dataset:
    """The photos of a folder, of a folder in a store (a URI such as s3://bucket/photos), or of a list, as a data set of Ray with the
    columns `id`, `path` or `uri`, and what else a list has.

    A folder has the ids that `sketchfind index build` gives: the path below it. What looks like a photo there and cannot be read has an
    `error`. In a store nothing is opened for that: all is taken but what is no photo by its name. `exclude` leaves alone what matches
    such a pattern, '*.tmp.jpg' by its name, 'old/**' by its path.

    A list is a Parquet file, or a folder of such, with a name that ends in `.parquet`. Its columns are `id` (string; without it the
    path or URI is the id), `path`, `uri` or `bytes`, and if you like `labels` (list of string), `product` and `source` (string).
    Relative paths begin where the list lies. `filesystem`, of Arrow or fsspec, is for stores that need more than a URI.

    >>> sorted(row["id"] for row in sketchfind.ray.photos("photos").take_all())
    ['blue.png', 'red.png']
    """
    place = os.fspath(photos)
    if place.rstrip("/").endswith(".parquet"):
        return _listed(place, filesystem)
    if isinstance(exclude, str):
        raise TypeError("exclude is a list of patterns, not one str")
    if filesystem is None and place.startswith("file://"):
        place = Places().at(place)[1]
    if filesystem is None and not is_uri(place):
        return _of_folder(place, list(exclude))
    return _of_store(place, list(exclude), Places(filesystem))


def _of_folder(folder: str, exclude: list[str]) -> Dataset:
    if os.path.isfile(folder):
        raise ValueError(f"'{folder}' is a file; expected a folder of photos, or a list whose name ends in .parquet")
    found, passed_over = _native._photo_files(folder, exclude)
    _say_passed_over(passed_over)
    # A path may be no text, and is bytes then as the system has it; a source is text.
    table = pa.table({
        "id": pa.array([id for id, _, _ in found], pa.string()),
        "path": pa.array([os.fsencode(path) for _, path, _ in found], pa.binary()),
        "error": pa.array([error for _, _, error in found], pa.string()),
    })
    return _blocks(folder, table)


def _of_store(folder: str, exclude: list[str], places: Places) -> Dataset:
    filesystem, root = places.at(folder)
    listing = filesystem.get_file_info(pa.fs.FileSelector(root, recursive=True))
    begin = len(root.rstrip("/")) + 1
    files = [info.path[begin:] for info in listing if info.type == pa.fs.FileType.File]
    found, passed_over = _native._photos_listed(files, exclude)
    _say_passed_over(passed_over)
    table = pa.table({
        "id": pa.array([id for id, _, _ in found], pa.string()),
        "uri": pa.array([places.below(folder, os.fspath(path)) for _, path, _ in found], pa.string()),
    })
    return _blocks(folder, table)


def _blocks(folder: str, table: pa.Table) -> Dataset:
    if table.num_rows == 0:
        raise ValueError(f"'{folder}': no image (JPEG, PNG, WebP, GIF, BMP, TIFF) lies below it")
    return ray.data.from_arrow([table.slice(at, _BLOCK) for at in range(0, table.num_rows, _BLOCK)])


def _say_passed_over(passed_over: list[str]) -> None:
    for what in passed_over[:_MOST_LINES]:
        say.warning("passed over: %s", what)
    if len(passed_over) > _MOST_LINES:
        say.warning("and %d more", len(passed_over) - _MOST_LINES)


def _listed(place: str, filesystem: Any) -> Dataset:
    places = Places(filesystem)
    of_list, path = places.at(place)
    if of_list.get_file_info(path).type == pa.fs.FileType.NotFound:
        raise FileNotFoundError(2, "No such file or directory", place)
    try:
        found = ray.data.read_parquet(path, filesystem=of_list)
        names = columns_of(found)
    except (pa.ArrowInvalid, ValueError) as error:
        raise ValueError(f"'{place}' cannot be read as Parquet: {error}") from None
    check_columns(names, f"'{place}'")
    unread = [name for name in names if name not in COLUMNS or name == "error"]
    if unread:
        say.warning("columns of '%s' that are not read: %s", place, ", ".join(unread))
    folder = place.rstrip("/").rpartition("/")[0] if is_uri(place) or filesystem else os.path.dirname(os.path.abspath(place))
    return found.select_columns([name for name in names if name not in unread]).map_batches(
        functools.partial(_absolute, folder=folder), batch_size=None, batch_format="pyarrow", udf_modifying_row_count=False
    )


def _absolute(table: pa.Table, folder: str) -> pa.Table:
    """The same with paths and URIs that do not begin at the list."""
    name = next((name for name in ("uri", "path") if name in table.column_names), None)
    # Without ids the places are the ids, as the list has them.
    if name is None or table.num_rows == 0:
        return table
    if "id" not in table.column_names:
        table = table.append_column("id", table[name])
    made = pa.array([_at(place, folder) for place in table[name].to_pylist()], pa.string())
    return table.set_column(table.column_names.index(name), name, made)


def _at(place: Any, folder: str | None) -> Any:
    return absolute(place, folder) if isinstance(place, str) and folder is not None else place


def columns_of(photos: Dataset) -> list[str]:
    """The names of a data set's columns; none where it is empty."""
    schema = photos.schema()
    return [] if schema is None else list(schema.names)


def blocks(dataset: Dataset) -> Iterator[pa.Table]:
    """The rows of a data set as they come, some at a time."""
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield table


def check_columns(names: Sequence[str], what: str) -> None:
    """Refuses a data set that has no photos."""
    if not any(name in names for name in PLACES):
        has = ", ".join(names) or "none"
        raise ValueError(f"{what}: expected a column path, uri or bytes, got the columns {has}")
    if "id" not in names and "uri" not in names and "path" not in names:
        raise ValueError(f"{what}: bytes have no names; expected a column id beside them")


def given(table: pa.Table, folder: str | None) -> Iterator[Given]:
    """The rows of a data set of photos; relative paths begin at `folder`, where there is one."""
    names = table.column_names
    lacking: list[Any] = [None] * table.num_rows
    column = {name: table[name].to_pylist() if name in names else lacking for name in COLUMNS if name != "bytes"}
    of_place = next((name for name in ("uri", "path") if name in names), "path")
    rows = zip(*(column[name] for name in ("id", of_place, "source", "labels", "product", "error")))
    for id, place, source, labels, product, error in rows:
        own_id = place if "id" not in names else id
        # The path of a local file that may be no text.
        place = os.fsdecode(place) if isinstance(place, bytes) else place
        place = _at(place, folder)
        source = place if source is None else source
        yield Given(own_id, place, source, labels, product, error)


def key(id: str) -> bytes:
    """What stands for an id where all of them are held: 16 bytes. That two of a thousand million have one is less likely than 1 in 10^20."""
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def looked_at(table: pa.Table, folder: str | None, has_bytes: bool) -> pa.Table:
    """Of each row its key, a fingerprint of all but its bytes, and what is wrong with it."""
    keys: list[bytes] = []
    prints: list[bytes] = []
    problems: list[str | None] = []
    for row in given(table, folder):
        problems.append(None if row.error is not None else _problem(row, has_bytes))
        is_right = problems[-1] is None
        keys.append(key(row.id) if is_right else bytes(16))
        prints.append(hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest())
    return pa.table({
        "key": pa.array(keys, pa.binary(16)),
        "print": pa.array(prints, pa.binary(16)),
        "problem": pa.array(problems, pa.string()),
    })


def _problem(row: Given, has_bytes: bool) -> str | None:
    if not isinstance(row.id, str):
        return f"an id is {row.id!r}, expected a text"
    if not isinstance(row.place, str) and not has_bytes:
        return f"the photo '{row.id}': its path or URI is {row.place!r}, expected a text"
    try:
        _native._check_photo(row.id, row.labels, as_text(row.source), row.product)
    except (TypeError, ValueError) as error:
        return f"the photo '{row.id}': {error}"
    return None


def as_text(path: str | None) -> str | None:
    """A path that is text; a file of Parquet holds no other."""
    try:
        return path if path is None or path.encode() else None
    except UnicodeEncodeError:
        return None
