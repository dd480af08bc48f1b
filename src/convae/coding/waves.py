"""The order in which pixels are coded, and what is known of each one's neighborhood by then.

Pixels are coded in waves: all those of a wave at once, of as many images as there are. A pixel's
window holds pixels of earlier waves alone: in its own row some to the left, and in a few rows
above some to the left and to the right. So wave *t* has the pixels with
``column + SLOPE * row == t``, where the slope is one more than how far a window reaches to the
right. An image of 28 x 28 has 163 waves instead of 784 pixels, and a single large image has long
ones.

Images lie on canvases of shape (planes, places, images): all images' values of one place stand
together, and around each image are margins of zeros, which windows at its edges hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

ROWS_ABOVE = 4
SIDE = 4
SLOPE = SIDE + 1
# Row and column of each pixel of a window, from the pixel; the nearest come first.
NEAREST = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
OFFSETS = NEAREST + tuple(
    (-up, across)
    for up in range(ROWS_ABOVE + 1)
    for across in range(-SIDE, SIDE + 1)
    if (up > 0 or across < 0) and (-up, across) not in NEAREST
)


@dataclass(frozen=True, eq=False)
class Wave:
    """Pixels that are coded together.

    Args:
        rows: int64 `(num_pixels,)`.
        columns: int64 `(num_pixels,)`.
    """

    rows: Integers
    columns: Integers


def num_waves(height: int, width: int) -> int:
    """How many waves an image has at most; in a narrow one some have no pixel."""
    return width + SLOPE * (height - 1)


def waves(height: int, width: int) -> Iterator[Wave]:
    """Every pixel of an image once, wave by wave; no wave is empty."""
    for time in range(num_waves(height, width)):
        rows = np.arange(max(0, -(-(time - width + 1) // SLOPE)), min(height, time // SLOPE + 1))
        if len(rows):
            yield Wave(rows, time - SLOPE * rows)


class Canvas:
    """Images of one size with margins, to be read by windows, and written wave by wave.

    Args:
        num_images: How many.
        height: Rows of an image.
        width: Columns of an image.
        num_planes: Bytes of a pixel.
    """

    def __init__(self, num_images: int, height: int, width: int, num_planes: int) -> None:
        self._stride = width + 2 * SIDE
        self._width = width
        self.num_images = num_images
        num_places = (height + ROWS_ABOVE) * self._stride
        self.values = np.zeros((num_planes, num_places, num_images), np.uint8)
        self._steps = np.array([row * self._stride + column for row, column in OFFSETS])

    @classmethod
    def of(cls, planes: Bytes) -> "Canvas":
        """A canvas with images on it.

        Args:
            planes: uint8 `(num_images, height, width, num_planes)`.
        """
        canvas = cls(*planes.shape)
        canvas._grid()[...] = planes.transpose(3, 1, 2, 0)
        return canvas

    def planes(self) -> Bytes:
        """The images, uint8 `(num_images, height, width, num_planes)`, in C order."""
        return np.ascontiguousarray(self._grid().transpose(3, 1, 2, 0))

    def places(self, wave: Wave) -> Integers:
        """Where the pixels of a wave lie, int64 `(num_pixels,)`."""
        return (wave.rows + ROWS_ABOVE) * self._stride + wave.columns + SIDE

    def windows(self, places: Integers) -> Bytes:
        """The windows of pixels.

        Args:
            places: As `places` gives them.

        Returns:
            uint8 `(num_planes, len(OFFSETS), num_pixels, num_images)`, in the order of `OFFSETS`.
        """
        return self.values[:, self._steps[:, np.newaxis] + places]

    def _grid(self) -> Bytes:
        num_planes, _, num_images = self.values.shape
        grid = self.values.reshape(num_planes, -1, self._stride, num_images)
        return grid[:, ROWS_ABOVE:, SIDE : SIDE + self._width]
