"""Rank the images of a set by how unlike the others they are, if not all are normal.

An anomaly may have others of its kind beside it, so an image is judged by many of its neighbors,
and again by the neighbors left after the most suspicious are set aside.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from convae.jobs.anomaly.learn import fit_neighbors

Floats = NDArray[np.float32]

# Neighbors that judge, in shares of the images, and at most; chosen on MNIST with a tenth of
# anomalies among one digit's training images.
FIRST_SHARE, MOST_FIRST = 1 / 20, 300
SECOND_SHARE, MOST_SECOND = 1 / 40, 30
FEWEST = 3
SET_ASIDE = 0.15


def suspicion(vectors: Floats, seed: int) -> NDArray[np.float64]:
    """How unlike the bulk each vector is.

    Args:
        vectors: float32 `(num_vectors, num_features)`, 2 or more.
        seed: As in `fit_neighbors`.

    Returns:
        float64 `(num_vectors,)`: squared distances; the higher, the more suspicious.
    """
    inside, missed = fit_neighbors(vectors, seed).project(vectors)
    everyone = np.ones(len(vectors), bool)
    first = missed + _mean_distance(inside, everyone, FIRST_SHARE, MOST_FIRST)
    trusted = first <= np.quantile(first, 1 - SET_ASIDE)
    second: NDArray[np.float64] = missed + _mean_distance(
        inside, trusted, SECOND_SHARE, MOST_SECOND
    )
    return second


def _mean_distance(
    points: NDArray[np.float64], among: NDArray[np.bool_], share: float, most: int
) -> NDArray[np.float64]:
    """Mean squared distance of each point to its nearest ones among some, itself left out."""
    count = min(max(FEWEST, int(share * len(points))), most, among.sum() - 1)
    if count < 1:
        return np.zeros(len(points))
    found = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(points[among])
    squares = np.square(found.kneighbors(points)[0])
    # A point among them is its own nearest neighbor.
    means: NDArray[np.float64] = np.where(
        among, squares[:, 1:].mean(axis=1), squares[:, :-1].mean(axis=1)
    )
    return means
