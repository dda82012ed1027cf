"""What comes back: small values that compare, hash, pickle and say what they are."""

import pathlib
from dataclasses import dataclass


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
    """Photos that were there with another content, labels or source."""
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
    """Photos that are there with another content, labels or source."""
    n_unchanged: int
    """Photos that are there as they are."""


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


for _class in (Match, Photo, BrokenImage, Ingested, Changes, Recall, Costs):
    # Where programs name them from, and what pickles hold.
    _class.__module__ = "sketchfind"
