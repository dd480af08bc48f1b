"""What a cheap method would have given: the honest figure beside each of ours."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from convae.images import to_float

# PCA's error moves in the fourth digit beyond so many images; its time and memory do not.
MOST_IMAGES = 10_000


def pca_mse(train: NDArray[np.generic], test: NDArray[np.generic], num_components: int) -> float:
    """Mean squared error of `test` after PCA to `num_components` numbers an image and back.

    Args:
        train: Images to fit on, uint8 or float32 in [0, 1], `(num_images, height, width,
            channels)`; at most 10,000 of them, evenly spread, are used.
        test: Images of the same size.
        num_components: Numbers an image; fewer where there are fewer images or pixels.

    Returns:
        The error per pixel, in [0, 1].
    """
    chosen = train[np.linspace(0, len(train) - 1, min(len(train), MOST_IMAGES)).astype(int)]
    flat = to_float(chosen).reshape(len(chosen), -1)
    pca = PCA(min(num_components, *flat.shape), random_state=0).fit(flat)
    total = 0.0
    for start in range(0, len(test), MOST_IMAGES):
        part = to_float(test[start : start + MOST_IMAGES]).reshape(-1, flat.shape[1])
        rebuilt = pca.inverse_transform(pca.transform(part))
        total += float(np.square(part - rebuilt).mean(axis=1, dtype=np.float64).sum())
    return total / len(test)
