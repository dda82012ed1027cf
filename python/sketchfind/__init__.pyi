import os
import pathlib
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BadFile",
    "BadImage",
    "Embedder",
    "Error",
    "Image",
    "Locked",
    "Match",
    "PhotoExists",
    "ReadOnly",
    "Retriever",
    "__version__",
    "create",
    "verify",
]

__version__: str

Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A path, a file's bytes, or an array [height, width, 3]."""

class Error(Exception):
    """Anything that went wrong; its message names the file or value and what was expected."""

class BadFile(Error):
    """A gallery or model is damaged, foreign or of a newer version."""

class BadImage(Error):
    """An image cannot be decoded or is over the limit."""

class Locked(Error):
    """Another writer has the gallery."""

class PhotoExists(Error):
    """The photo is there already."""

class ReadOnly(Error):
    """The gallery is open for reading only."""

@final
class Match:
    """A photo that matches a query."""

    @property
    def id(self) -> str: ...
    @property
    def distance(self) -> float: ...
    @property
    def rank(self) -> int: ...
    @property
    def path(self) -> pathlib.Path | None: ...

@final
class Embedder:
    """A model that runs: images in, embeddings out."""

    def __new__(
        cls,
        model: str | os.PathLike[str],
        *,
        threads: int | None = None,
        device: str = "cpu",
        max_pixels: int | None = None,
    ) -> Embedder: ...
    @property
    def width(self) -> int: ...
    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """The embeddings of images, [n, width]."""

@final
class Retriever:
    """A gallery with its model. Many threads may share one."""

    def __new__(
        cls,
        gallery: str | os.PathLike[str],
        *,
        writable: bool = False,
        sessions: int = 1,
        threads: int | None = None,
        device: str = "cpu",
        max_pixels: int | None = None,
        frame: str = "card",
    ) -> Retriever:
        """`frame`: how the drawings of queries are brought into the frame that the model was trained with: as its "card"
        says, "off", or so that they fill a share such as "0.8" of the page."""
    @property
    def width(self) -> int: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: str, /) -> bool: ...
    def __enter__(self) -> Retriever: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def close(self) -> None:
        """Gives the gallery back; every later call raises Error."""
    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]: ...
    def query(
        self,
        sketch: Image,
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
    ) -> list[Match]:
        """The k photos that match best among those that pass all conditions."""
    def query_batch(
        self,
        sketches: Sequence[Image],
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
    ) -> list[list[Match]]: ...
    def query_embedding(
        self,
        embedding: NDArray[np.float32],
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
    ) -> list[Match]: ...
    def add(
        self,
        id: str,
        image: Image,
        labels: Iterable[str] | None = None,
        source: str | os.PathLike[str] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Adds a photo; when this returns it is on the disk.

        With replace it takes the place of the photo that has its id. Labels and a source that are None are not given, and
        stay as they are; an empty list of labels takes them away.
        """
    def remove(self, ids: Iterable[str]) -> int:
        """Removes photos in one step and returns how many were there."""
    def labels(self, id: str) -> list[str]: ...
    def source(self, id: str) -> pathlib.Path | None: ...
    def embeddings(self) -> tuple[list[str], NDArray[np.float32]]:
        """All ids, sorted, and their embeddings, [n, width]."""
    def refresh(self) -> bool:
        """Sees what other processes have written since; whether there was anything. `BadFile` where the gallery was replaced
        by one of another model, which has to be opened anew."""
    def compact(self) -> None: ...

def create(
    gallery: str | os.PathLike[str],
    model: str | os.PathLike[str],
    index: Literal["auto", "exact", "hnsw"] = "auto",
    *,
    frame: str = "card",
) -> None:
    """Makes an empty gallery of a model; a gallery that is there is replaced. `frame`: how photos are framed, as the model's
    "card" says, "off", or so that products fill at least a share such as "0.8" of the page."""

def verify(model: str | os.PathLike[str], device: str = "cpu") -> bool:
    """Whether the model gives here the embeddings that it gave where it was exported."""
