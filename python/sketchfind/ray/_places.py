"""Paths and URIs, and the file systems that they are of."""

import os
import re
import urllib.parse
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.fs  # type: ignore[import-untyped]

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Bytes that are asked for at once.
_PIECE = 8 << 20


def is_uri(place: str) -> bool:
    return _URI.match(place) is not None


def absolute(place: str, folder: str) -> str:
    """A path or URI as seen from everywhere; `folder` is where relative ones begin."""
    return place if is_uri(place) or os.path.isabs(place) else f"{folder.rstrip('/')}/{place}"


class Places:
    """Finds file systems: of Arrow, or of fsspec where Arrow does not know the scheme; or the one that is given for all."""

    def __init__(self, filesystem: Any = None) -> None:
        self._given = None if filesystem is None else _wrapped(filesystem)
        self._stores: dict[tuple[str, str, str], _Store] = {}

    def at(self, place: str) -> tuple[Any, str]:
        """The file system of a path or URI, and the path in it."""
        if self._given is not None:
            return self._given, place.rstrip("/")
        if not is_uri(place):
            return pyarrow.fs.LocalFileSystem(), os.path.abspath(place)
        uri = urllib.parse.urlsplit(place)
        store = self._store(uri)
        path = urllib.parse.unquote(uri.path) if store.is_quoted else uri.path
        return store.filesystem, (store.prefix + path).rstrip("/")

    def below(self, folder: str, path: str) -> str:
        """The path or URI of what lies at `path` below the path or URI `folder`."""
        if self._given is not None or not is_uri(folder):
            return f"{folder.rstrip('/')}/{path}"
        uri = urllib.parse.urlsplit(folder)
        own = urllib.parse.quote(path) if self._store(uri).is_quoted else path
        return urllib.parse.urlunsplit(uri._replace(path=f"{uri.path.rstrip('/')}/{own}"))

    def _store(self, uri: urllib.parse.SplitResult) -> "_Store":
        # To find one may take a request.
        key = (uri.scheme, uri.netloc, uri.query)
        if key not in self._stores:
            self._stores[key] = _Store(*key)
        return self._stores[key]

    def read(self, place: str, max_bytes: int) -> bytes:
        """The bytes of a file; of one that is longer than `max_bytes` one more than these."""
        if self._given is None and not is_uri(place):
            with open(place, "rb") as file:
                return file.read(max_bytes + 1)
        filesystem, path = self.at(place)
        with filesystem.open_input_stream(path) as stream:
            pieces: list[bytes] = []
            rest = max_bytes + 1
            while rest > 0 and (piece := stream.read(min(rest, _PIECE))):
                pieces.append(piece)
                rest -= len(piece)
            return b"".join(pieces)


class _Store:
    """A file system, and how paths in it are made of URIs."""

    def __init__(self, scheme: str, netloc: str, query: str) -> None:
        example = urllib.parse.urlunsplit((scheme, netloc, "/a", query, ""))
        self.is_quoted = True
        try:
            self.filesystem, path = pyarrow.fs.FileSystem.from_uri(example)
        except pa.ArrowInvalid:
            try:
                known, path = fsspec.core.url_to_fs(example)
            except (ImportError, ValueError) as error:
                raise ValueError(f"'{scheme}://{netloc}' cannot be reached: {error}") from None
            self.filesystem, self.is_quoted = _wrapped(known), False
        # The bucket, in some the whole beginning.
        self.prefix = path.removesuffix("/a")


def _wrapped(filesystem: Any) -> Any:
    if isinstance(filesystem, pyarrow.fs.FileSystem):
        return filesystem
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem))
