"""Principal components: scikit-learn's, and quiet where all rows are equal."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA


def fit_components(rows: NDArray[np.float32], num_components: int, seed: int = 0) -> PCA:
    """PCA fitted on rows.

    Args:
        rows: float32 `(num_rows, num_features)`.
        num_components: At most so many; there are fewer of few rows or features.
        seed: For the method that draws at random, which many features call for.
    """
    with warnings.catch_warnings():
        # Equal rows have no variance, of which PCA would take the shares; nobody asks for them.
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
        return PCA(min(num_components, *rows.shape), random_state=seed).fit(rows)
