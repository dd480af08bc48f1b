"""The spaces in which an image is compared with normal ones: its edges, and its colors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convae.images.selection import Images
from convae.jobs.anomaly.colors import color_features, num_color_features, sum_color_cells
from convae.jobs.anomaly.edges import edge_features, num_edge_features, sum_edge_cells

EDGES, COLORS = "edges", "colors"


@dataclass(frozen=True)
class Space:
    """How images become vectors.

    Args:
        features: Takes images, `(num_images, height, width, channels)`, uint8 or float32 in [0, 1];
            gives float32 `(num_images, num_features)`.
        num_features: Takes the height, width and depth of an image; gives a vector's length.
        sum_cells: Takes how far vectors are from usual ones, float64 `(num_images, num_features)`,
            and the images as float32; gives the squares of it by the cell that they belong to,
            float64 `(num_images, rows, columns)`.
    """

    features: Callable[[Images], NDArray[np.float32]]
    num_features: Callable[[tuple[int, int, int]], int]
    sum_cells: Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.float64]]


SPACES = {
    EDGES: Space(edge_features, num_edge_features, sum_edge_cells),
    COLORS: Space(color_features, num_color_features, sum_color_cells),
}


def spaces_for(channels: int) -> tuple[str, ...]:
    """The spaces for a number of channels; for one channel, edges are enough."""
    return (EDGES,) if channels == 1 else (EDGES, COLORS)
