"""How far a vector is from the normal ones, measured to the plane through its nearest neighbors.

The plane through a few neighbors fills the gaps between them (Vincent and Bengio, "K-local
hyperplane and convex distance nearest neighbor algorithms", NIPS 2001), with a penalty that keeps
its point near them. Vectors are kept as their leading principal components, which changes the
distances little; what the components miss is added to the distance.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Chosen on held-out training images of MNIST, one digit normal.
NUM_NEIGHBORS = 20
PENALTY = 1.0  # of the mean squared distance of the neighbors from their middle
QUERIES_AT_A_TIME = 512
# Distances held at a time: 64 MiB.
MOST_DISTANCES = 2**23


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Normal vectors, to be neighbors.

    Args:
        mean: float32 `(num_features,)`, the middle of the vectors.
        components: float32 `(num_components, num_features)`, orthonormal rows.
        references: float32 `(num_references, num_components)`, the normal vectors in these
            components.
    """

    mean: Floats
    components: Floats
    references: Floats

    def project(self, vectors: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vectors in the components, and the squared distance that these miss.

        Args:
            vectors: float32 `(num_vectors, num_features)`.

        Returns:
            float64 `(num_vectors, num_components)`, and float64 `(num_vectors,)`, 0 or more.
        """
        # In float64: otherwise a result would depend on the rest of its batch.
        centered = vectors.astype(np.float64) - self.mean
        inside = centered @ self.components.T.astype(np.float64)
        missed = np.square(centered).sum(axis=1) - np.square(inside).sum(axis=1)
        return inside, np.maximum(missed, 0)

    def search(self, vectors: Floats) -> tuple[NDArray[np.float64], NDArray[np.intp], Floats]:
        """The neighbors of vectors.

        Args:
            vectors: float32 `(num_vectors, num_features)`.

        Returns:
            The squared distance of each vector to the plane, float64 `(num_vectors,)`; the indices
            of its neighbors among the references, `(num_vectors, num_neighbors)`; and the weights
            that make the plane's nearest point of them, float32 of the same shape, of sum 1.
        """
        size = max(1, min(QUERIES_AT_A_TIME, MOST_DISTANCES // len(self.references)))
        parts = [
            self._search(vectors[start : start + size]) for start in range(0, len(vectors), size)
        ]
        distances, indices, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        return distances, indices, weights

    def points(self, indices: NDArray[np.intp], weights: Floats) -> NDArray[np.float64]:
        """The points of the planes that come nearest, as vectors again.

        Args:
            indices: What `search` returned.
            weights: What `search` returned.

        Returns:
            float64 `(num_vectors, num_features)`.
        """
        inside = np.einsum("ij,ijk->ik", weights, self.references[indices], dtype=np.float64)
        points: NDArray[np.float64] = inside @ self.components.astype(np.float64) + self.mean
        return points

    @cached_property
    def _halved(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The references in float64, and half of their squared lengths."""
        references = self.references.astype(np.float64)
        return references, 0.5 * np.square(references).sum(axis=1)

    def _nearest(self, queries: NDArray[np.float64]) -> NDArray[np.intp]:
        """Indices of the nearest references, the nearest first."""
        references, half_squares = self._halved
        count = min(NUM_NEIGHBORS, len(references))
        # Half of the squared distance, without the term that depends only on the query.
        distances = half_squares - queries @ references.T
        found = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, found, 1), axis=1, kind="stable")
        return np.take_along_axis(found, order, 1)

    def _search(self, vectors: Floats) -> tuple[NDArray[np.float64], NDArray[np.intp], Floats]:
        queries, missed = self.project(vectors)
        indices = self._nearest(queries)
        near = self.references[indices].astype(np.float64)
        middle = near.mean(axis=1)
        sides, wanted = near - middle[:, None], queries - middle
        gram = sides @ sides.transpose(0, 2, 1)
        count = indices.shape[1]
        spread = np.einsum("ijj->i", gram) / count
        # If all neighbors are one point, 1 avoids a singular matrix; the weights do not matter.
        gram[:, np.arange(count), np.arange(count)] += np.where(spread > 0, PENALTY * spread, 1)[
            :, None
        ]
        shares = np.linalg.solve(gram, sides @ wanted[:, :, None])[:, :, 0]
        left = wanted - np.einsum("ij,ijk->ik", shares, sides)
        distances = np.square(left).sum(axis=1) + missed
        weights = shares + (1 - shares.sum(axis=1, keepdims=True)) / count
        return distances, indices, weights.astype(np.float32)
