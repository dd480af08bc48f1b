"""What a cheap method would have given: the honest figure beside each of ours."""

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from convae.images import to_float
from convae.images.memory import chunks
from convae.metrics import squared_errors

# PCA's error moves in the fourth digit beyond so many images; its time and memory do not.
MOST_IMAGES = 10_000
# Values in memory at a time: half a GiB as float32 to fit on, and much less to judge.
MOST_VALUES = 2**27


def pca_mse(train: NDArray[np.generic], test: NDArray[np.generic], num_components: int) -> float:
    """Mean squared error of `test` after PCA to `num_components` numbers an image and back.

    Args:
        train: Images to fit on, uint8 or float32 in [0, 1], `(num_images, height, width,
            channels)`; at most 10,000 of them, evenly spread, are used, and fewer of more than
            13,000 values each.
        test: Images of the same size.
        num_components: Numbers an image; fewer where there are fewer images or pixels.

    Returns:
        The error per pixel, in [0, 1].
    """
    num_values = math.prod(train.shape[1:])
    most = min(MOST_IMAGES, max(num_components, MOST_VALUES // num_values))
    chosen = train[np.linspace(0, len(train) - 1, min(len(train), most)).astype(int)]
    flat = to_float(chosen).reshape(len(chosen), num_values)
    with warnings.catch_warnings():
        # Equal images have no variance, of which PCA would take the shares; nobody asks for them.
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
        pca = PCA(min(num_components, *flat.shape), random_state=0).fit(flat)
    total = 0.0
    for chunk in chunks(test):
        part = to_float(test[chunk])
        rebuilt = pca.inverse_transform(pca.transform(part.reshape(len(part), num_values)))
        total += float(squared_errors(part, rebuilt.reshape(part.shape)).sum())
    return total / len(test)
