"""How far an image is from normal ones, measured in several ways around one autoencoder."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from convae.autoencoder.estimator import ConvAutoencoder
from convae.images import to_float
from convae.images.memory import chunks
from convae.images.metrics import squared_errors
from convae.images.selection import drawn_indices
from convae.jobs.anomaly.heat import smooth_cells
from convae.jobs.anomaly.neighbors import Neighbors
from convae.jobs.anomaly.spaces import COLORS, EDGES, SPACES, spaces_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Floats = NDArray[np.float32]
Deviations = NDArray[np.float64]

# Normal images kept as neighbors; more of them make a larger file and slower answers.
MOST_REFERENCES = 50_000
# Below any deviation that is not rounding.
LEAST_DEVIATION = 1e-12
# Rounding differs with the images that are judged at the same time; decisions shall not.
DECIMALS = 6
# Arrays as large as the images that are held at a time, those of their edges included.
COPIES = 16

RESTORED = "restored"
# The heat in each space, among `MEASURES`.
HEATS = {EDGES: "heat of edges", COLORS: "heat of colors"}
# A score by the deviations that it is made of, which are among `MEASURES`.
SCORES: dict[str, tuple[str, ...]] = {
    "neighbors": ("neighbors",),
    "neighbors and peaks": ("neighbors", "peak"),
    "neighbors and colors": ("neighbors", "peak", "colors"),
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
        neighbors: The normal images, by space.
        reference_latents: float32 `(num_references, latent_dim)`: their latents.
        latent_mean: float64 `(latent_dim,)`.
        latent_precision: float64 `(latent_dim, latent_dim)`: the inverse of their covariance.
    """

    autoencoder: ConvAutoencoder
    neighbors: dict[str, Neighbors]
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
        kept = images[drawn_indices(len(images), MOST_REFERENCES, seed)]
        latents = autoencoder.transform(kept)
        covariance = LedoitWolf().fit(latents.astype(np.float64))
        return cls(
            autoencoder,
            _neighbors(kept, seed),
            latents,
            covariance.location_,
            np.ascontiguousarray(covariance.precision_),
        )

    def relearn(self, images: NDArray[Any], seed: int) -> "AnomalyScores":
        """The same with neighbors that are other images; there must be 2 or more."""
        return replace(self, neighbors=_neighbors(images, seed))

    def keep_only(self, spaces: "Iterable[str]") -> "AnomalyScores":
        """The same without the neighbors in other spaces."""
        return replace(self, neighbors={space: self.neighbors[space] for space in spaces})

    def measure(self, images: NDArray[Any], names: "Iterable[str]") -> dict[str, NDArray[Any]]:
        """Some of `MEASURES`, of each image; what several of them need is computed once.

        Args:
            images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`.
            names: Keys of `MEASURES`.

        Returns:
            Arrays of `num_images` rows, by name.
        """
        found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        for part in chunks(images, COPIES):
            view = _View(self, to_float(images[part]))
            for name, values in found.items():
                values.append(MEASURES[name](view))
        return {name: np.concatenate(values) for name, values in found.items()}


def _neighbors(images: NDArray[Any], seed: int) -> dict[str, Neighbors]:
    return {
        space: Neighbors.fit(SPACES[space].features(images), seed)
        for space in spaces_for(images.shape[3])
    }


@dataclass(frozen=True, eq=False)
class _View:
    """A few images, and what is made of them when it is first asked for."""

    scores: AnomalyScores
    images: Floats

    @cached_property
    def edges(self) -> "_Seen":
        return _Seen(EDGES, self.scores.neighbors[EDGES], self.images)

    @cached_property
    def colors(self) -> "_Seen":
        return _Seen(COLORS, self.scores.neighbors[COLORS], self.images)

    @cached_property
    def rebuilt(self) -> Floats:
        return self.scores.autoencoder.reconstruct(self.images)

    @cached_property
    def restored(self) -> Floats:
        _, indices, weights = self.edges.found
        latents = np.einsum("ij,ijk->ik", weights, self.scores.reference_latents[indices])
        return self.scores.autoencoder.inverse_transform(latents).reshape(self.images.shape)


@dataclass(frozen=True, eq=False)
class _Seen:
    """The images of a view in one space."""

    space: str
    neighbors: Neighbors
    images: Floats

    @cached_property
    def features(self) -> Floats:
        return SPACES[self.space].features(self.images)

    @cached_property
    def found(self) -> tuple[Deviations, NDArray[np.intp], Floats]:
        return self.neighbors.search(self.features)

    @cached_property
    def heat(self) -> Deviations:
        _, indices, weights = self.found
        differences = self.features - self.neighbors.points(indices, weights)
        return smooth_cells(SPACES[self.space].sum_cells(differences, self.images))


def _edges(view: _View) -> Deviations:
    rebuilt = SPACES[EDGES].features(view.rebuilt)
    difference = np.subtract(view.edges.features, rebuilt, dtype=np.float64)
    total: Deviations = np.square(difference).sum(axis=1)
    return total


def _latents(view: _View) -> Deviations:
    away = view.scores.autoencoder.transform(view.images) - view.scores.latent_mean
    squared: Deviations = np.einsum("ij,jk,ik->i", away, view.scores.latent_precision, away)
    return squared


def _logarithm(measure: "Callable[[_View], Deviations]") -> "Callable[[_View], Deviations]":
    def measured(view: _View) -> Deviations:
        logarithms: Deviations = np.log(np.maximum(measure(view), LEAST_DEVIATION))
        return logarithms.round(DECIMALS)

    return measured


# Deviations are logarithms, float64 (num_images,), the higher the less normal. Heat is float64
# (num_images, rows, columns), 0 or more, for each cell of `convae.jobs.anomaly.cells`. Restored are
# the normal images that come nearest, made of the latents of the nearest neighbors: float32,
# shaped as the images.
MEASURES: "dict[str, Callable[[_View], NDArray[Any]]]" = {
    "neighbors": _logarithm(lambda view: view.edges.found[0]),
    "peak": _logarithm(lambda view: view.edges.heat.max(axis=(1, 2))),
    "colors": _logarithm(lambda view: view.colors.found[0]),
    "edges": _logarithm(_edges),
    "restoration": _logarithm(lambda view: squared_errors(view.images, view.restored)),
    "reconstruction": _logarithm(lambda view: squared_errors(view.images, view.rebuilt)),
    "latents": _logarithm(_latents),
    HEATS[EDGES]: lambda view: view.edges.heat.round(DECIMALS),
    HEATS[COLORS]: lambda view: view.colors.heat.round(DECIMALS),
    RESTORED: lambda view: view.restored,
}


def scores_for(channels: int) -> tuple[str, ...]:
    """The scores that images with so many channels can have."""
    spaces = spaces_for(channels)
    return tuple(score for score in SCORES if set(spaces_of(score)) <= set(spaces))


def spaces_of(score: str) -> tuple[str, ...]:
    """The spaces whose neighbors a score needs, or its heat: always the edges."""
    return (EDGES, COLORS) if "colors" in SCORES[score] else (EDGES,)
