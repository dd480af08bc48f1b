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


def largest_box(heat: Floats) -> Box | None:
    """A box around the region with the most heat.

    Args:
        heat: float32 `(height, width)`, 0 where nothing is wrong; regions touch at sides.

    Returns:
        The box, or None where the map is blank.
    """
    regions, count = label_regions(heat > 0)
    if not count:
        return None
    totals = np.bincount(regions.ravel(), weights=heat.ravel())
    rows, columns = np.nonzero(regions == totals[1:].argmax() + 1)
    left, top = int(columns.min()), int(rows.min())
    return Box(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
