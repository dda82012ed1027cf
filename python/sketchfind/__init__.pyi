import os
import pathlib
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._types import Frame as Frame
from ._types import Image as Image
from ._types import Progress as Progress
from ._values import Answer as Answer
from ._values import BrokenImage as BrokenImage
from ._values import Changes as Changes
from ._values import Copied as Copied
from ._values import Costs as Costs
from ._values import Exported as Exported
from ._values import FailedRow as FailedRow
from ._values import Imported as Imported
from ._values import Ingested as Ingested
from ._values import Match as Match
from ._values import Nothing as Nothing
from ._values import Photo as Photo
from ._values import Recall as Recall
from ._values import Strokes as Strokes

__all__ = [
    "Answer",
    "BadFile",
    "BadImage",
    "BrokenImage",
    "Changes",
    "Closed",
    "Copied",
    "Costs",
    "Embedder",
    "Error",
    "Exported",
    "FailedRow",
    "Forked",
    "Frame",
    "Image",
    "Imported",
    "Ingested",
    "Locked",
    "Match",
    "Native",
    "NoModel",
    "Nothing",
    "Photo",
    "PhotoExists",
    "Progress",
    "ReadOnly",
    "Recall",
    "Retriever",
    "Strokes",
    "__version__",
    "copy",
    "create",
    "verify",
]

__version__: str

class Error(Exception):
    """Anything that went wrong, but for files (OSError) and arguments (TypeError, ValueError)."""

    code: ClassVar[str]
    """What kind, in the words of the C interface."""

class BadFile(Error):
    """A gallery or model is damaged, foreign or of a newer version."""

class BadImage(Error):
    """An image cannot be decoded or is over the limit, or nothing is drawn on it."""

class Closed(Error):
    """The retriever was closed."""

class Forked(Error):
    """What is used was opened by the process that this one was forked from: open it in this one."""

class Locked(Error):
    """Another writer has the gallery."""

class Native(Error):
    """ONNX Runtime or the device cannot be used, or the model cannot be run."""

class NoModel(Error):
    """The gallery has no model, so that no picture can be embedded: it takes embeddings that are ready."""

class PhotoExists(Error):
    """The photo is there already."""

class ReadOnly(Error):
    """The gallery is open for reading only."""

@final
class Embedder:
    """A model that runs: pictures in, embeddings out."""

    def __new__(
        cls,
        model: str | os.PathLike[str],
        *,
        threads: int | None = None,
        device: str = "cpu",
        batch: int | None = None,
        max_pixels: int | None = None,
    ) -> Embedder: ...
    @property
    def width(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def max_bytes(self) -> int: ...
    def embed(self, images: Iterable[Image], *, progress: Progress | None = None) -> NDArray[np.float32]: ...
    def embed_photos(
        self, images: Iterable[Image], *, frame: Frame = "card", progress: Progress | None = None
    ) -> tuple[NDArray[np.float32], dict[int, str]]: ...

@final
class Retriever:
    """A gallery, with its model where it has one. Many threads may share one."""

    def __new__(
        cls,
        gallery: str | os.PathLike[str],
        *,
        writable: bool = False,
        by_turns: bool = False,
        sessions: int = 1,
        threads: int | None = None,
        device: str = "cpu",
        batch: int | None = None,
        max_pixels: int | None = None,
        frame: Frame = "card",
        follow: float | None = None,
        calibration: str | os.PathLike[str] | None = None,
    ) -> Retriever: ...
    @property
    def width(self) -> int: ...
    @property
    def path(self) -> pathlib.Path: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: str, /) -> bool: ...
    def __enter__(self) -> Retriever: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def close(self) -> None: ...
    def embed(self, images: Iterable[Image], *, progress: Progress | None = None) -> NDArray[np.float32]: ...
    def embed_photos(
        self, images: Iterable[Image], *, progress: Progress | None = None
    ) -> NDArray[np.float32]: ...
    def embed_sketches(
        self, sketches: Iterable[Image], *, progress: Progress | None = None
    ) -> NDArray[np.float32]: ...
    def query(
        self,
        sketch: Image,
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        without_ids: Iterable[str] | None = None,
        only_products: Iterable[str] | None = None,
        without_products: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
        ef: int | None = None,
        exact: bool = False,
        by_product: bool = False,
    ) -> list[Match]: ...
    def query_batch(
        self,
        sketches: Iterable[Image],
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        without_ids: Iterable[str] | None = None,
        only_products: Iterable[str] | None = None,
        without_products: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
        ef: int | None = None,
        exact: bool = False,
        by_product: bool = False,
        progress: Progress | None = None,
    ) -> list[list[Match]]: ...
    def query_embedding(
        self,
        embedding: ArrayLike,
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        without_ids: Iterable[str] | None = None,
        only_products: Iterable[str] | None = None,
        without_products: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
        ef: int | None = None,
        exact: bool = False,
        by_product: bool = False,
    ) -> list[Match]: ...
    def query_embeddings(
        self,
        embeddings: ArrayLike,
        k: int = 10,
        *,
        only_ids: Iterable[str] | None = None,
        without_ids: Iterable[str] | None = None,
        only_products: Iterable[str] | None = None,
        without_products: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
        ef: int | None = None,
        exact: bool = False,
        by_product: bool = False,
    ) -> list[list[Match]]: ...
    def answer(
        self,
        sketch: Image,
        k: int = 10,
        min_score: float | Literal["auto"] | None = None,
        *,
        only_ids: Iterable[str] | None = None,
        without_ids: Iterable[str] | None = None,
        only_products: Iterable[str] | None = None,
        without_products: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
        ef: int | None = None,
        exact: bool = False,
        by_product: bool = False,
    ) -> Answer: ...
    def answer_embedding(
        self,
        embedding: ArrayLike,
        k: int = 10,
        min_score: float | Literal["auto"] | None = None,
        *,
        only_ids: Iterable[str] | None = None,
        without_ids: Iterable[str] | None = None,
        only_products: Iterable[str] | None = None,
        without_products: Iterable[str] | None = None,
        any_label: Iterable[str] | None = None,
        every_label: Iterable[str] | None = None,
        without_label: Iterable[str] | None = None,
        ef: int | None = None,
        exact: bool = False,
        by_product: bool = False,
    ) -> Answer: ...
    def add(
        self,
        id: str,
        image: Image,
        labels: Iterable[str] | None = None,
        source: str | os.PathLike[str] | None = None,
        *,
        product: str | None = None,
        replace: bool = False,
    ) -> None: ...
    def add_batch(
        self,
        ids: Iterable[str],
        images: Iterable[Image],
        labels: Iterable[Iterable[str] | None] | None = None,
        sources: Iterable[str | os.PathLike[str] | None] | None = None,
        *,
        products: Iterable[str | None] | None = None,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> None: ...
    def add_embeddings(
        self,
        ids: Iterable[str],
        embeddings: ArrayLike,
        labels: Iterable[Iterable[str] | None] | None = None,
        sources: Iterable[str | os.PathLike[str] | None] | None = None,
        *,
        products: Iterable[str | None] | None = None,
        replace: bool = False,
    ) -> None: ...
    def import_embeddings(
        self, path: str | os.PathLike[str], *, replace: bool = False, progress: Progress | None = None
    ) -> Imported: ...
    def export_embeddings(
        self, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Exported: ...
    def ingest(
        self,
        ids: Iterable[str],
        paths: Iterable[str | os.PathLike[str]],
        labels: Iterable[Iterable[str] | None] | None = None,
        sources: Iterable[str | os.PathLike[str] | None] | None = None,
        *,
        products: Iterable[str | None] | None = None,
        regions: Iterable[tuple[float, float, float, float] | None] | None = None,
        on_broken: Literal["refuse", "skip"] = "refuse",
        on_other_source: Literal["refuse", "replace"] = "refuse",
        progress: Progress | None = None,
    ) -> Ingested: ...
    def changes(
        self,
        ids: Iterable[str],
        paths: Iterable[str | os.PathLike[str]],
        labels: Iterable[Iterable[str] | None] | None = None,
        sources: Iterable[str | os.PathLike[str] | None] | None = None,
        *,
        products: Iterable[str | None] | None = None,
    ) -> Changes: ...
    def remove(self, ids: Iterable[str]) -> int: ...
    def ids(self) -> list[str]: ...
    def photos(self) -> Iterator[Photo]: ...
    def photo(self, id: str) -> Photo: ...
    def labels(self, id: str) -> list[str]: ...
    def source(self, id: str) -> pathlib.Path | None: ...
    def embedding(self, id: str) -> NDArray[np.float32]: ...
    def embeddings(self) -> tuple[list[str], NDArray[np.float32]]: ...
    def refresh(self) -> bool: ...
    def troubles(self) -> list[str]: ...
    def set_index(self, index: Literal["auto", "exact", "hnsw"]) -> None: ...
    def compact(self, *, progress: Progress | None = None) -> None: ...
    def measure_recall(self, *, progress: Progress | None = None) -> Recall | None: ...
    def measure_costs(self) -> Costs: ...

def copy(
    gallery: str | os.PathLike[str], to: str | os.PathLike[str], *, replace: bool = False
) -> Copied: ...
def create(
    gallery: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    index: Literal["auto", "exact", "hnsw"] = "auto",
    *,
    frame: Frame = "card",
    width: int | None = None,
    distance: Literal["mse", "cosine"] | None = None,
    model_sha256: str | None = None,
) -> None: ...
def verify(model: str | os.PathLike[str], device: str = "cpu") -> bool: ...
