"""How near a reconstruction is to its original, in NumPy; training losses are in `convae.nn`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from convae.errors import ImageError
from convae.images.memory import chunks

Floats = NDArray[np.float32]
Array = Any  # of NumPy or of a backend

SSIM_WINDOW = 7
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


def squared_errors(originals: Floats, reconstructions: Floats) -> NDArray[np.float64]:
    """Mean squared error of each image.

    Args:
        originals: float32 `(num_images, height, width, channels)` in [0, 1].
        reconstructions: The same shape and range.

    Returns:
        float64 `(num_images,)`, 0 for equal images, at most 1.

    Raises:
        ImageError: The shapes differ.
    """
    return _by_chunks(_squared_errors, originals, reconstructions)


def _squared_errors(originals: Floats, reconstructions: Floats) -> NDArray[np.float64]:
    difference = np.subtract(originals, reconstructions, dtype=np.float64)
    errors: NDArray[np.float64] = np.square(difference).mean(axis=(1, 2, 3))
    return errors


def psnr_db(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in decibels of an error between images in [0, 1].

    Args:
        mean_squared_error: 0 or more; 0 gives infinity.
    """
    return float("inf") if mean_squared_error == 0 else -10 * float(np.log10(mean_squared_error))


def ssim(originals: Floats, reconstructions: Floats) -> NDArray[np.float64]:
    """Structural similarity of each pair of images.

    A uniform 7x7 window inside the image, unbiased variances, K1 = 0.01, K2 = 0.03, each channel on
    its own, then the mean (Wang et al., "Image quality assessment", IEEE TIP 13, 2004, eq. 13).

    Args:
        originals: float32 `(num_images, height, width, channels)` in [0, 1], sides of 8 or more.
        reconstructions: The same shape and range.

    Returns:
        float64 `(num_images,)` in [-1, 1]; 1 for equal images.

    Raises:
        ImageError: The shapes differ.
    """
    return _by_chunks(_similarities, originals, reconstructions)


def _similarities(originals: Floats, reconstructions: Floats) -> NDArray[np.float64]:

    def window_mean(planes: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in (1, 2):
            planes = sliding_window_view(planes, SSIM_WINDOW, axis).mean(axis=-1)
        return planes

    similarity = similarity_map(
        originals.astype(np.float64), reconstructions.astype(np.float64), window_mean
    )
    per_image: NDArray[np.float64] = similarity.mean(axis=(1, 2, 3))
    return per_image


def similarity_map(a: Array, b: Array, window_mean: Callable[[Array], Array]) -> Array:
    """The similarity of two sets of images at each place of the window, as `ssim` defines it.

    Args:
        a: Images in [0, 1], as an array of any library.
        b: The same shape, range and kind.
        window_mean: The mean of such an array over each whole window inside the image.
    """
    mean_a, mean_b = window_mean(a), window_mean(b)
    unbias = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    variance_a = unbias * (window_mean(a * a) - mean_a * mean_a)
    variance_b = unbias * (window_mean(b * b) - mean_b * mean_b)
    covariance = unbias * (window_mean(a * b) - mean_a * mean_b)
    return ((2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mean_a * mean_a + mean_b * mean_b + SSIM_C1) * (variance_a + variance_b + SSIM_C2)
    )


def _by_chunks(
    judge: Callable[[Floats, Floats], NDArray[np.float64]],
    originals: Floats,
    reconstructions: Floats,
) -> NDArray[np.float64]:
    """What `judge` makes of each image, with memory for a few of them."""
    if originals.shape != reconstructions.shape:
        raise ImageError(
            f"Images that are compared must have one shape; received {originals.shape} and "
            f"{reconstructions.shape}. Bring both to one size with convae.images.fit_size."
        )
    results = np.empty(len(originals))
    for part in chunks(originals):
        results[part] = judge(originals[part], reconstructions[part])
    return results
