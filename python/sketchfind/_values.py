"""What comes back, and strokes: small values that compare, hash, pickle and say what they are."""

import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# The stub of the package says nothing of it.
from . import _native  # type: ignore[attr-defined]



@dataclass(frozen=True)
class Match:
    """A photo that matches a query.

    >>> match = sketchfind.Match("boot-17", 0.25, 1, labels=("boots",))
    >>> match.id, match.rank, match.labels
    ('boot-17', 1, ('boots',))
    """

    id: str
    """The photo's id."""
    distance: float
    """Its distance to the query by the model's distance; smaller is more alike."""
    rank: int
    """Its place, from 1."""
    path: pathlib.Path | None = None
    """The photo's file, where the gallery was told."""
    labels: tuple[str, ...] = ()
    """The photo's labels, sorted."""
    score: float | None = None
    """The probability that it is the one that was drawn, where a calibration says so; it does of the first ten."""
    product: str | None = None
    """The product that the photo shows, where the gallery was told."""


@dataclass(frozen=True)
class Nothing:
    """Why nothing was found.

    >>> sketchfind.Nothing("empty_gallery", "the gallery has no photos").code
    'empty_gallery'
    """

    code: str
    """A word for programs: empty_gallery, no_such_label, no_such_product, no_such_id, filter or no_fit."""
    reason: str
    """The same for people, with what was asked for."""


@dataclass(frozen=True)
class Answer:
    """What was found for a query, and how sure that is.

    >>> sketchfind.Answer((sketchfind.Match("boot-17", 0.25, 1, score=0.75),), score=0.75).matches[0].score
    0.75
    """

    matches: tuple[Match, ...] = ()
    """The photos, best first; by product the best of each product."""
    score: float | None = None
    """The probability that the one that was drawn is among the first ten, the sum of their scores; None without a calibration."""
    nothing: Nothing | None = None
    """Why there is no match, where there is none."""


@dataclass(frozen=True, init=False)
class Strokes:
    """A drawing as pen movements: a picture that is drawn in black on white.

    `page` is its width and height, y growing downwards; `lines` has for each time that the pen was down its points, [n, 2] as an
    array or as pairs x, y. As a drawing they are moved and scaled before they are drawn, which is sharper than a picture of them.

    >>> strokes = sketchfind.Strokes((512, 512), [[(100, 100), (400, 120)], numpy.array([[250.0, 400.0]])])
    >>> strokes.lines
    (((100.0, 100.0), (400.0, 120.0)), ((250.0, 400.0),))
    >>> len(sketchfind.Retriever("shop.gallery").query(strokes))
    2
    """

    page: tuple[float, float]
    """Width and height, in the unit of the points."""
    lines: tuple[tuple[tuple[float, float], ...], ...]
    """The points of each line, in the order in which they were drawn."""

    def __init__(self, page: Sequence[float], lines: Iterable[ArrayLike]) -> None:
        width, height = page
        # The class is frozen: its values are set once, here.
        object.__setattr__(self, "page", (float(width), float(height)))
        object.__setattr__(self, "lines", tuple(_points(line, place) for place, line in enumerate(lines, 1)))
        _native._check_strokes(self.page, self.lines)


def _points(line: ArrayLike, place: int) -> tuple[tuple[float, float], ...]:
    points = np.asarray(line, dtype=np.float64)
    if points.size and (points.ndim != 2 or points.shape[1] != 2):
        raise ValueError(f"line {place} of a drawing: expected points [n, 2], got {list(points.shape)}")
    return tuple((x, y) for x, y in points.tolist())


@dataclass(frozen=True)
class Photo:
    """What a gallery knows of a photo.

    >>> sketchfind.Photo("boot-17", ("boots",)).labels
    ('boots',)
    """

    id: str
    """Its id."""
    labels: tuple[str, ...] = ()
    """Its labels, sorted."""
    source: pathlib.Path | None = None
    """Its file, where the gallery was told."""
    content: bytes | None = None
    """The SHA-256 of its file, where the gallery was told."""
    product: str | None = None
    """The product that it shows, which others may show too, where the gallery was told."""


@dataclass(frozen=True)
class BrokenImage:
    """A file that was left out.

    >>> sketchfind.BrokenImage("boot-17", pathlib.Path("17.jpg"), "it is empty").reason
    'it is empty'
    """

    id: str
    """Its id."""
    path: pathlib.Path
    """The file."""
    reason: str
    """What is wrong with it; names the file."""


@dataclass(frozen=True)
class Ingested:
    """What came of bringing files into a gallery.

    >>> sketchfind.Ingested(n_added=2, n_replaced=0, n_unchanged=5, n_known=0).n_added
    2
    """

    n_added: int
    """Photos that were not there."""
    n_replaced: int
    """Photos that were there with another content, product, labels or source."""
    n_unchanged: int
    """Photos that were there as they are."""
    n_known: int
    """Of those added and replaced, how many needed no embedding because the same content was there."""
    broken: tuple[BrokenImage, ...] = ()
    """Files that were left out, in the order of the list."""


@dataclass(frozen=True)
class Changes:
    """What bringing files into a gallery would change; ids in the order of the list.

    >>> sketchfind.Changes(("boot-17",), (), 5).added
    ('boot-17',)
    """

    added: tuple[str, ...]
    """Photos that are not there."""
    replaced: tuple[str, ...]
    """Photos that are there with another content, product, labels or source."""
    n_unchanged: int
    """Photos that are there as they are."""


@dataclass(frozen=True)
class FailedRow:
    """A row of a file that has an error in the place of an embedding.

    >>> sketchfind.FailedRow("boot-17", "the file is empty").error
    'the file is empty'
    """

    id: str
    """Its id."""
    error: str
    """What the program that wrote the file said."""


@dataclass(frozen=True)
class Imported:
    """What came of bringing embeddings of files into a gallery.

    >>> sketchfind.Imported(n_added=2, n_replaced=0, n_unchanged=5).n_added
    2
    """

    n_added: int
    """Photos that were not there."""
    n_replaced: int
    """Photos that were there with another embedding, product, labels, source or content."""
    n_unchanged: int
    """Photos that were there as they are."""
    failed: tuple[FailedRow, ...] = ()
    """Rows without an embedding, which were left out."""
    unread_columns: tuple[str, ...] = ()
    """Columns that nobody reads."""


@dataclass(frozen=True)
class Exported:
    """What came of writing a gallery's embeddings to a file.

    >>> sketchfind.Exported(n_photos=2).n_photos
    2
    """

    n_photos: int
    """Photos that were written."""
    without_source: tuple[str, ...] = ()
    """Ids of photos whose path is no text, and was left out."""


@dataclass(frozen=True)
class Copied:
    """What a copy of a gallery is made of.

    >>> sketchfind.Copied(n_photos=2, n_shared=7, n_own=2).n_shared
    7
    """

    n_photos: int
    """Photos in it."""
    n_shared: int
    """Files that it shares with the original."""
    n_own: int
    """Files that are its own."""


@dataclass(frozen=True)
class Recall:
    """How much of what exact search finds the graphs find, on a sample.

    >>> sketchfind.Recall(k=10, n_queries=200, n_photos=5000, n_nearest=2000, n_found=1990).value
    0.995
    """

    k: int
    """How many of the nearest were asked for."""
    n_queries: int
    """Photos in the sample."""
    n_photos: int
    """Photos in the gallery."""
    n_nearest: int
    """The nearest of all queries together, by exact search."""
    n_found: int
    """How many of them the graphs found."""

    @property
    def value(self) -> float:
        """The share that is found; 1 where there is nothing to find."""
        return self.n_found / self.n_nearest if self.n_nearest else 1.0


@dataclass(frozen=True)
class Costs:
    """What embedding and exact search cost on a machine.

    >>> sketchfind.Costs(embedding_us=10_000, exact_numbers_per_us=4_000).largest_exact
    40000000
    """

    embedding_us: int
    """Microseconds to embed one image."""
    exact_numbers_per_us: int
    """Numbers of a matrix, rows times width, that exact search for one query looks at in a microsecond."""

    @property
    def largest_exact(self) -> int:
        """Numbers of a matrix for which exact search takes as long as embedding one image."""
        return self.embedding_us * self.exact_numbers_per_us


for _class in (
    Match,
    Nothing,
    Answer,
    Strokes,
    Photo,
    BrokenImage,
    Ingested,
    Changes,
    FailedRow,
    Imported,
    Exported,
    Copied,
    Recall,
    Costs,
):
    # Where programs name them from, and what pickles hold.
    _class.__module__ = "sketchfind"
