"""How far an image is from normal ones, measured in several ways around one autoencoder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from convae.anomaly.edges import edge_features, sum_cells
from convae.anomaly.heat import smooth_cells
from convae.anomaly.neighbours import Neighbours
from convae.estimator import ConvAutoencoder
from convae.images import to_float
from convae.images.memory import chunks
from convae.metrics import squared_errors

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float32]
Deviations = NDArray[np.float64]

# Normal images kept as neighbours; more of them make a larger file and slower answers.
MOST_REFERENCES = 50_000
# Below any deviation that is not rounding.
LEAST_DEVIATION = 1e-12
# Rounding differs with the images that are judged at the same time; decisions shall not.
DECIMALS = 6
# Arrays as large as the images that are held at a time, those of their edges included.
COPIES = 16

# A score by the deviations that it is made of.
SCORES: dict[str, tuple[str, ...]] = {
    "neighbours": ("neighbours",),
    "neighbours and edges": ("neighbours", "edges"),
    "edges": ("edges",),
    "restoration": ("restoration",),
    "reconstruction": ("reconstruction",),
    "latents": ("latents",),
}


@dataclass(frozen=True, eq=False)
class AnomalyScores:
    """What was learned of normal images beside the autoencoder.

    Args:
        autoencoder: The fitted estimator.
        neighbours: The normal images' edges.
        reference_latents: float32 `(num_references, latent_dim)`: their latents.
        latent_mean: float64 `(latent_dim,)`.
        latent_precision: float64 `(latent_dim, latent_dim)`: the inverse of their covariance.
    """

    autoencoder: ConvAutoencoder
    neighbours: Neighbours
    reference_latents: Floats
    latent_mean: NDArray[np.float64]
    latent_precision: NDArray[np.float64]

    @classmethod
    def fit(cls, autoencoder: ConvAutoencoder, images: NDArray[Any], seed: int) -> "AnomalyScores":
        """Learn what is normal.

        Args:
            autoencoder: An estimator fitted on images like these.
            images: Normal images, uint8 or float32 in [0, 1], of its size, 2 or more.
            seed: Decides which of more than 50,000 images are kept.
        """
        order = np.random.default_rng(seed).permutation(len(images))[:MOST_REFERENCES]
        kept = images[np.sort(order)]
        edges = [edge_features(to_float(kept[part])) for part in chunks(kept, COPIES)]
        latents = autoencoder.transform(kept)
        covariance = LedoitWolf().fit(latents.astype(np.float64))
        return cls(
            autoencoder,
            Neighbours.fit(np.concatenate(edges), seed),
            latents,
            covariance.location_,
            np.ascontiguousarray(covariance.precision_),
        )

    def deviations(self, images: NDArray[Any], score: str) -> dict[str, Deviations]:
        """The deviations that a score is made of.

        Args:
            images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`.
            score: A key of `SCORES`.

        Returns:
            float64 `(num_images,)` by name: logarithms, the higher the less normal.
        """
        measures: dict[str, Callable[[Floats], Deviations]] = {
            "neighbours": self._neighbours,
            "edges": self._edges,
            "restoration": self._restoration,
            "reconstruction": self._reconstruction,
            "latents": self._latents,
        }
        found: dict[str, list[Deviations]] = {name: [] for name in SCORES[score]}
        for part in chunks(images, COPIES):
            for name, values in found.items():
                deviations = measures[name](to_float(images[part]))
                logarithms: Deviations = np.log(np.maximum(deviations, LEAST_DEVIATION))
                values.append(logarithms.round(DECIMALS))
        return {name: np.concatenate(values) for name, values in found.items()}

    def heat(self, images: NDArray[Any]) -> Deviations:
        """Where the edges of images deviate from those of normal ones.

        Args:
            images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`.

        Returns:
            float64 `(num_images, rows, columns)`, 0 or more, for each cell of
            `convae.anomaly.edges`.
        """
        height, width = images.shape[1:3]
        parts = []
        for part in chunks(images, COPIES):
            edges = edge_features(to_float(images[part]))
            _, indices, weights = self.neighbours.search(edges)
            squares = np.square(edges - self.neighbours.points(indices, weights))
            parts.append(smooth_cells(sum_cells(squares, height, width)).round(DECIMALS))
        return np.concatenate(parts)

    def restore(self, images: Floats) -> Floats:
        """The normal images that come nearest, made of the latents of their nearest neighbours.

        Args:
            images: float32 in [0, 1], `(num_images, height, width, channels)`.

        Returns:
            float32 in [0, 1], the same shape.
        """
        _, indices, weights = self.neighbours.search(edge_features(images))
        latents = np.einsum("ij,ijk->ik", weights, self.reference_latents[indices])
        return self.autoencoder.inverse_transform(latents).reshape(images.shape)

    def _neighbours(self, images: Floats) -> Deviations:
        return self.neighbours.search(edge_features(images))[0]

    def _edges(self, images: Floats) -> Deviations:
        rebuilt = self._rebuilt(images)
        difference = np.subtract(edge_features(images), edge_features(rebuilt), dtype=np.float64)
        total: Deviations = np.square(difference).sum(axis=1)
        return total

    def _restoration(self, images: Floats) -> Deviations:
        return squared_errors(images, self.restore(images))

    def _reconstruction(self, images: Floats) -> Deviations:
        return squared_errors(images, self._rebuilt(images))

    def _latents(self, images: Floats) -> Deviations:
        away = self.autoencoder.transform(images) - self.latent_mean
        squared: Deviations = np.einsum("ij,jk,ik->i", away, self.latent_precision, away)
        return squared

    def _rebuilt(self, images: Floats) -> Floats:
        return self.autoencoder.reconstruct(images).astype(np.float32)
