"""What takes noise away without a network: filters of one image, and what is fitted on pairs."""

import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from skimage import restoration
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from peers.programs import FOLDER, peer_python

Floats = NDArray[np.float32]
# Takes and gives images in [0, 1], `(num_images, height, width, channels)`.
Method = Callable[[Floats], Floats]


def one_by_one(apply: Callable[[Floats], Any], images: Floats) -> Floats:
    """What a method for a single image makes of each."""
    gray = images.shape[3] == 1
    found = [apply(image[..., 0] if gray else image) for image in images]
    return np.stack(found).reshape(images.shape).astype(np.float32)


def medians(size: int) -> Method:
    """Of so many pixels in each direction."""
    return lambda images: np.asarray(median_filter(images, size=(1, size, size, 1)))


def total_variation(weight: float) -> Method:
    """Chambolle's."""
    denoise = partial(restoration.denoise_tv_chambolle, weight=weight)
    return lambda images: one_by_one(
        lambda image: denoise(image, channel_axis=None if image.ndim == 2 else -1), images
    )


def non_local_means(strength: float, share: float) -> Method:
    """With patches of 5 x 5, cut off at a share of the strength."""

    def apply(image: Floats) -> Any:  # noqa: ANN401 # an array
        return restoration.denoise_nl_means(
            image, patch_size=5, patch_distance=9, h=share * strength, sigma=strength,
            channel_axis=None if image.ndim == 2 else -1,
        )  # fmt: skip

    return lambda images: one_by_one(apply, images)


def wavelets(strength: float, share: float) -> Method:
    """With thresholds for a share of the strength."""

    def apply(image: Floats) -> Any:  # noqa: ANN401 # an array
        return restoration.denoise_wavelet(
            image, sigma=share * strength, rescale_sigma=True,
            channel_axis=None if image.ndim == 2 else -1,
        )  # fmt: skip

    return lambda images: one_by_one(apply, images)


def components(clean: Floats, count: int) -> Method:
    """The projection to the first principal components of clean images."""
    pca = PCA(count, random_state=0).fit(clean.reshape(len(clean), -1))

    def apply(images: Floats) -> Floats:
        rows = images.reshape(len(images), -1)
        found: Floats = pca.inverse_transform(pca.transform(rows))
        return found.reshape(images.shape)

    return apply


def nearest(clean: Floats, noisy: Floats, count: int) -> Method:
    """The mean of the clean training images whose noisy versions are nearest."""
    index = NearestNeighbors(n_neighbors=count).fit(noisy.reshape(len(noisy), -1))

    def apply(images: Floats) -> Floats:
        found = index.kneighbors(images.reshape(len(images), -1), return_distance=False)
        return np.asarray(clean[found].mean(axis=1))

    return apply


def linear_map(clean: Floats, noisy: Floats, ridge: float) -> Method:
    """Least squares from all pixels of a noisy image to all of the clean one."""
    rows = noisy.reshape(len(noisy), -1).astype(np.float64)
    targets = clean.reshape(len(clean), -1).astype(np.float64)
    center, middle = rows.mean(axis=0), targets.mean(axis=0)
    squares = (rows - center).T @ (rows - center)
    size = ridge * np.trace(squares) / len(squares)
    matrix = np.linalg.solve(
        squares + size * np.eye(len(squares)), (rows - center).T @ (targets - middle)
    )
    return lambda images: (
        ((images.reshape(len(images), -1) - center) @ matrix + middle)
        .reshape(images.shape).astype(np.float32)
    )  # fmt: skip


def in_bm3d(images: Floats, strength: float) -> Floats:
    """What BM3D makes of images, in its own environment."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "images.npy"
        np.save(path, images)
        script = FOLDER / "bm3d_images.py"
        command = [peer_python("bm3d"), str(script), str(path), str(strength)]
        subprocess.run(command, check=True)
        found: Floats = np.load(path)
    return found
