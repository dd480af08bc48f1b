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


def component_errors(pca: PCA, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean squared error of each row after its components and back.

    Args:
        pca: Fitted on rows like these.
        rows: float32 `(num_rows, num_features)`.
    """
    missed = rows - pca.inverse_transform(pca.transform(rows))
    errors: NDArray[np.float64] = np.square(missed, dtype=np.float64).mean(axis=1)
    return errors
