"""What arguments may be."""

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._values import Strokes


class Bar(Protocol):
    """What is told by `update` how many more are done, as a bar of tqdm."""

    def update(self, n: int, /) -> object: ...


class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self, n: int, /) -> bytes: ...


class PilImage(Protocol):
    """An image of PIL, by what tells it from others."""

    @property
    def mode(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def getexif(self) -> Any: ...
    def tobytes(self) -> bytes: ...


Image: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | NDArray[np.generic] | PilImage | Strokes
)
"""A picture."""

Progress: TypeAlias = bool | Callable[[int, int | None], object] | Bar
"""Who is told how much is done: True for a bar of tqdm, a function of how many are done and how many there are (None where
nobody knows), or a bar."""

Frame: TypeAlias = str | float
"""How pictures are framed: "card", "off", or a share of 0.2 to 1."""
