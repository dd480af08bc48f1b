"""Where in an image the deviation is: maps of it, from cells to pixels, and boxes around it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convae.images.filters import blur, enlarge, label_regions
from convae.jobs.anomaly.cells import cell_side

Floats = NDArray[np.float32]

# In cells. Chosen on held-out training images of MNIST, one digit normal, with made-up anomalies.
SMOOTHING = 1.0


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels.

    Args:
        left: The first column.
        top: The first row.
        width: Columns, 1 or more.
        height: Rows, 1 or more.
    """

    left: int
    top: int
    width: int
    height: int


def smooth_cells(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The deviation around each cell.

    Args:
        squares: float64 `(num_images, rows, columns)`: the squared deviation in each cell.

    Returns:
        float64, the same shape: the root of the mean over each cell's neighborhood.
    """
    means: NDArray[np.float64] = np.sqrt(blur(squares, SMOOTHING))
    return means


def to_pixels(cells: NDArray[np.float64], height: int, width: int) -> Floats:
    """Maps of cells as maps of pixels, by linear interpolation: no pixel exceeds its cells.

    Args:
        cells: float64 `(num_images, rows, columns)`.
        height: Rows of an image, in pixels.
        width: Columns of an image, in pixels.

    Returns:
        float32 `(num_images, height, width)`.
    """
    return enlarge(cells, cell_side(height, width), height, width)


def largest_boxes(heat: Floats) -> list[Box | None]:
    """A box around the region with the most heat, of each map.

    Args:
        heat: float32 `(num_images, height, width)`, 0 where nothing is wrong; regions touch at
            sides.

    Returns:
        The boxes; None for a map that is blank.
    """
    boxes: list[Box | None] = [None] * len(heat)
    regions, count = label_regions(heat > 0)
    totals = np.bincount(regions.ravel(), weights=heat.ravel(), minlength=count + 1)
    images, rows, columns = np.nonzero(regions)
    numbers = regions[images, rows, columns]
    image_of = np.zeros(count + 1, np.intp)
    image_of[numbers] = images
    hottest = np.zeros(len(heat), np.intp)
    # The last to be written is the hottest, and of equals the first.
    order = np.lexsort((-np.arange(1, count + 1), totals[1:])) + 1
    hottest[image_of[order]] = order
    kept = numbers == hottest[images]
    images, rows, columns = images[kept], rows[kept], columns[kept]
    # Of one image they lie together.
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    if not len(starts):
        return boxes
    left, right = np.minimum.reduceat(columns, starts), np.maximum.reduceat(columns, starts)
    top, bottom = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
    corners = np.stack([left, top, right - left + 1, bottom - top + 1], axis=1).tolist()
    for image, corner in zip(images[starts].tolist(), corners, strict=True):
        boxes[image] = Box(*corner)
    return boxes
