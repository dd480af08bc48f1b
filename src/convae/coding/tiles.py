"""Tiles of pictures of any sizes, with what lies around them: what contexts are learned from."""

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from convae.coding.waves import ROWS_ABOVE, SIDE
from convae.images.reservoir import Reservoir

Bytes = NDArray[np.uint8]

# Sides of a tile are those of the first picture, from so few to so many pixels.
SMALLEST_TILE, LARGEST_TILE = 16, 64


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of one size, with the margins that the windows of their pixels reach into.

    What a tile has beyond its picture is 0, as margins around a picture are.

    Args:
        values: uint8 `(num_tiles, 4 + height, 4 + width + 4, num_planes)`.
        places: int64 `(num_tiles, 2)`: row and column of the tile's first pixel in its picture.
        sizes: int64 `(num_tiles, 2)`: height and width of its picture.
    """

    values: Bytes
    places: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, planes: Bytes) -> Self:
        """Whole images of one size, `(num_images, height, width, num_planes)`."""
        values = np.pad(planes, ((0, 0), (ROWS_ABOVE, 0), (SIDE, SIDE), (0, 0)))
        sizes = np.tile(np.array(planes.shape[1:3], np.int64), (len(planes), 1))
        return cls(values, np.zeros_like(sizes), sizes)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a tile."""
        return self.values.shape[1] - ROWS_ABOVE, self.values.shape[2] - 2 * SIDE

    @property
    def num_planes(self) -> int:
        """Bytes of a pixel."""
        return int(self.values.shape[3])

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which pixels are their picture's, bool `(num_tiles, height, width)`."""
        rows, columns = (
            np.arange(side) < (self.sizes - self.places)[:, axis, np.newaxis]
            for axis, side in enumerate(self.size)
        )
        found: NDArray[np.bool_] = rows[:, :, np.newaxis] & columns[:, np.newaxis]
        return found

    def some(self, chosen: NDArray[np.bool_]) -> Self:
        """Those tiles that are chosen."""
        return type(self)(self.values[chosen], self.places[chosen], self.sizes[chosen])

    def __len__(self) -> int:
        return len(self.values)


class TileCollector:
    """Cuts pictures into tiles, and keeps some of all that it saw, each as likely as any other.

    Args:
        most_bytes: What the tiles may take.
        seed: Decides which are kept.
    """

    def __init__(self, most_bytes: int, seed: int) -> None:
        self.num_bytes_seen = 0
        self._most_bytes = most_bytes
        self._reservoir = Reservoir(seed)
        self._size: tuple[int, int] | None = None
        self._kept: list[tuple[Bytes, tuple[int, int], tuple[int, int]]] = []

    def add(self, planes: Bytes) -> None:
        """See pictures of one size, uint8 `(num_pictures, height, width, num_planes)`."""
        count, height, width, num_planes = planes.shape
        self.num_bytes_seen += planes.size
        if self._size is None:
            self._size = (
                min(max(height, SMALLEST_TILE), LARGEST_TILE),
                min(max(width, SMALLEST_TILE), LARGEST_TILE),
            )
        rows, columns = self._size
        most = max(1, self._most_bytes // (rows * columns * num_planes))
        for index in range(count):
            for row, column in itertools.product(range(0, height, rows), range(0, width, columns)):
                place = self._reservoir.place(most)
                if place is None:
                    continue
                kept = self._cut(planes[index], row, column), (row, column), (height, width)
                self._kept[place : place + 1] = [kept]

    def tiles(self) -> Tiles:
        """Those kept, of one picture at least."""
        values, places, sizes = zip(*self._kept, strict=True)
        return Tiles(np.stack(values), np.array(places), np.array(sizes))

    def _cut(self, picture: Bytes, row: int, column: int) -> Bytes:
        """The tile that begins there, with its margins; it may reach beyond the picture."""
        rows, columns = self._size or (0, 0)
        shape = ROWS_ABOVE + rows, columns + 2 * SIDE, picture.shape[2]
        tile = np.zeros(shape, np.uint8)
        top, left = row - ROWS_ABOVE, column - SIDE
        own = picture[max(0, top) : top + shape[0], max(0, left) : left + shape[1]]
        within = tile[max(0, -top) :, max(0, -left) :]
        within[: own.shape[0], : own.shape[1]] = own
        return tile
