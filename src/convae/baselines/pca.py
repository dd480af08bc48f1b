"""Principal components, the cheapest autoencoder there is: scikit-learn's."""

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from convae.images import to_float
from convae.images.memory import chunks
from convae.images.selection import Images

# More images change PCA's error in the fourth digit only, but cost time and memory.
MOST_IMAGES = 10_000
# Values in memory at a time: half a GiB as float32 to fit on, and much less to judge.
MOST_VALUES = 2**27


def fit_components(rows: NDArray[np.float32], num_components: int, seed: int = 0) -> PCA:
    """PCA fitted on rows.

    Args:
        rows: float32 `(num_rows, num_features)`.
        num_components: At most this many; few rows or features give fewer.
        seed: For the randomized method, which is used for many features.
    """
    with warnings.catch_warnings():
        # Equal rows have no variance to take shares of; the shares are not used.
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
        return PCA(min(num_components, *rows.shape), random_state=seed).fit(rows)


def component_errors(pca: PCA, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean squared error of each row after its components and back.

    Args:
        pca: Fitted on rows like these.
        rows: float32 `(num_rows, num_features)`.
    """
    missed = rows - pca.inverse_transform(pca.transform(rows))
    errors: NDArray[np.float64] = np.square(missed, dtype=np.float64).mean(axis=1)
    return errors


def pca_mse(train: Images, test: Images, num_components: int) -> float:
    """Mean squared error of `test` after PCA to `num_components` numbers per image and back.

    Args:
        train: Images to fit on, uint8 or float32 in [0, 1], `(num_images, height, width,
            channels)`; at most 10,000 of them, evenly spread, are used, and fewer of more than
            13,000 values each.
        test: Images of the same size.
        num_components: Numbers per image; fewer if there are fewer images or pixels.

    Returns:
        The error per pixel, in [0, 1].
    """
    num_values = math.prod(train.shape[1:])
    most = min(MOST_IMAGES, max(num_components, MOST_VALUES // num_values))
    chosen = train[np.linspace(0, len(train) - 1, min(len(train), most)).astype(int)]
    flat = to_float(chosen).reshape(len(chosen), num_values)
    pca = fit_components(flat, num_components)
    total = 0.0
    for part in chunks(test):
        images = test[part]
        rows = to_float(images).reshape(len(images), num_values)
        total += float(component_errors(pca, rows).sum())
    return total / len(test)
