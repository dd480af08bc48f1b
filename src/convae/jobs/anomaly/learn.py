"""Learn what is normal: neighbors in each space, and how latents are spread."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from convae.architecture.network import Network
from convae.baselines.pca import fit_components
from convae.images import to_float
from convae.images.memory import chunks
from convae.images.selection import Images, Selection, drawn_indices
from convae.jobs.anomaly.neighbors import Neighbors
from convae.jobs.anomaly.scores import AnomalyScores
from convae.jobs.anomaly.spaces import SPACES, spaces_for

Floats = NDArray[np.float32]

# Normal images kept as neighbors; more of them make a larger file and slower answers.
MOST_REFERENCES = 50_000
# Chosen on held-out training images of MNIST, one digit normal.
NUM_COMPONENTS = 64
# PCA is fitted on at most this many vectors; more hardly change its components.
MOST_FITTED = 10_000


def fit_scores(network: Network, images: Selection, seed: int) -> AnomalyScores:
    """Learn what is normal.

    Args:
        network: A network trained on images like these.
        images: Normal images of its size, 2 or more.
        seed: Decides which of more than 50,000 images are kept.
    """
    kept = images.take(drawn_indices(len(images), MOST_REFERENCES, seed))
    latents = np.concatenate([network.encode(to_float(kept[part])) for part in chunks(kept)])
    covariance = LedoitWolf().fit(latents.astype(np.float64))
    return AnomalyScores(
        network,
        fit_spaces(kept, seed),
        latents,
        covariance.location_,
        np.ascontiguousarray(covariance.precision_),
    )


def fit_spaces(images: Images, seed: int) -> dict[str, Neighbors]:
    """Images as neighbors, by space; there must be 2 or more."""
    return {
        space: _fit(SPACES[space].features, images, seed) for space in spaces_for(images.shape[3])
    }


def fit_neighbors(vectors: Floats, seed: int) -> Neighbors:
    """Vectors as neighbors.

    Args:
        vectors: float32 `(num_vectors, num_features)`, 2 or more of them.
        seed: Decides which of many vectors the components are fitted on.
    """
    return _fit(lambda some: some, vectors, seed)


def _fit(features: Callable[[Any], Floats], things: Any, seed: int) -> Neighbors:  # noqa: ANN401
    """Things as neighbors by their features, which are made of a few of them at a time."""
    drawn = drawn_indices(len(things), MOST_FITTED, seed)
    mean, components = fit_axes(features(things[drawn]), seed)
    projected = [(features(things[part]) - mean) @ components.T for part in chunks(things)]
    return Neighbors(mean, components, np.concatenate(projected))


def fit_axes(vectors: Floats, seed: int) -> tuple[Floats, Floats]:
    """The middle of vectors, and their leading principal components as rows."""
    pca = fit_components(vectors, NUM_COMPONENTS, seed)
    # Laid out as when read from a file, since rounding of products depends on the layout.
    return pca.mean_.astype(np.float32), np.ascontiguousarray(pca.components_, np.float32)
