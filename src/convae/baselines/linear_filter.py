"""The linear filter that takes noise away with the least squared error: the cheapest denoiser."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from convae.images.memory import chunks

Floats = NDArray[np.float32]

RADIUS = 4
# Of the mean square of what is filtered: keeps the equations solvable.
RIDGE = 1e-4


@dataclass(frozen=True, eq=False)
class LinearFilter:
    """A weighted sum of the pixels around each one, and a constant.

    Args:
        weights: float64 `(side * side * channels + 1, channels)`; the last row is the constant.
    """

    weights: NDArray[np.float64]

    @classmethod
    def fit(cls, noisy: Floats, clean: Floats) -> Self:
        """The filter with the least squared error.

        Args:
            noisy: float32 `(num_images, height, width, channels)`.
            clean: The same images without noise.
        """
        squares: NDArray[np.float64] | float = 0.0
        products: NDArray[np.float64] | float = 0.0
        for part in chunks(noisy, (2 * RADIUS + 1) ** 2):
            seen = _windows(noisy[part])
            squares = squares + (seen.T @ seen).astype(np.float64)
            products = products + (seen.T @ clean[part].reshape(len(seen), -1)).astype(np.float64)
        found = np.asarray(squares)
        ridge = RIDGE * np.trace(found) / len(found)
        return cls(np.linalg.solve(found + ridge * np.eye(len(found)), products))

    def apply(self, noisy: Floats) -> Floats:
        """What the filter makes of images.

        Args:
            noisy: float32 `(num_images, height, width, channels)`.

        Returns:
            float32 in [0, 1], of the same shape.
        """
        weights = self.weights.astype(np.float32)
        parts = chunks(noisy, (2 * RADIUS + 1) ** 2)
        found = np.concatenate([_windows(noisy[part]) @ weights for part in parts])
        clipped: Floats = np.clip(found.reshape(noisy.shape), 0, 1)
        return clipped


def _windows(images: Floats) -> Floats:
    """The pixels around each one, `(num_pixels, side * side * channels + 1)`; the last is 1."""
    side = 2 * RADIUS + 1
    padded = np.pad(images, ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="symmetric")
    windows = sliding_window_view(padded, (side, side), axis=(1, 2))
    rows = windows.reshape(-1, side * side * images.shape[3])
    return np.concatenate([rows, np.ones_like(rows[:, :1])], axis=1)
