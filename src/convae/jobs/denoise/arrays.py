"""The operations of a U-Net (`convae.architecture.unet`) in NumPy: matrix products and sums."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from convae.architecture.unet import KERNEL_SIDE

Floats = NDArray[np.float32]


class ArrayOperations:
    """Operations on float32 arrays; those that add or rectify change their first array."""

    def convolve(self, images: Floats, kernel: Floats) -> Floats:
        """Three products, one for each row of the kernel."""
        batch, height, width, planes = images.shape
        filters = kernel.shape[3]
        padded = np.zeros((batch, height + 2, width + 2, planes), np.float32)
        padded[:, 1:-1, 1:-1] = images
        # Next to each other in memory: a pixel and its two neighbors in the row.
        rows = sliding_window_view(padded.reshape(batch, height + 2, -1), KERNEL_SIDE * planes, 2)
        rows = rows[:, :, ::planes]
        found = np.zeros((batch * height * width, filters), np.float32)
        for row in range(KERNEL_SIDE):
            seen = np.ascontiguousarray(rows[:, row : row + height])
            found += seen.reshape(-1, KERNEL_SIDE * planes) @ kernel[row].reshape(-1, filters)
        return found.reshape(batch, height, width, filters)

    def mix(self, images: Floats, matrix: Floats) -> Floats:
        """One product."""
        *places, planes = images.shape
        return (images.reshape(-1, planes) @ matrix).reshape(*places, -1)

    def rectify(self, images: Floats) -> Floats:
        """In place."""
        return np.maximum(images, 0, out=images)

    def add(self, first: Floats, second: Floats) -> Floats:
        """A new array, since the first one may be used again."""
        return first + second

    def gather(self, images: Floats) -> Floats:
        """Planes of two by two pixels, row by row."""
        batch, height, width, planes = images.shape
        parts = images.reshape(batch, height // 2, 2, width // 2, 2, planes)
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, -1)

    def scatter(self, images: Floats) -> Floats:
        """Two by two pixels of their planes, row by row."""
        batch, height, width, planes = images.shape
        parts = images.reshape(batch, height, width, 2, 2, planes // 4)
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, -1)
