"""How far an image is from normal ones, measured in several ways around one autoencoder."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.network import Network
from convae.images import to_float
from convae.images.memory import chunks
from convae.images.metrics import squared_errors
from convae.images.selection import Images
from convae.jobs.anomaly.heat import smooth_cells
from convae.jobs.anomaly.neighbors import Neighbors
from convae.jobs.anomaly.spaces import COLORS, EDGES, SPACES, spaces_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Floats = NDArray[np.float32]
Deviations = NDArray[np.float64]

# Below any deviation that is not rounding.
LEAST_DEVIATION = 1e-12
# Rounding differs with the batch; decisions must not.
DECIMALS = 6
# Arrays as large as the images that are held at a time, including those of their edges.
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


# Measures that need the network; the others are valid on images that it was trained on, too.
NETWORK_MEASURES = {"edges", "restoration", "reconstruction", "latents"}


@dataclass(frozen=True, eq=False)
class AnomalyScores:
    """What was learned of normal images beside the network.

    Args:
        network: The trained network.
        neighbors: The normal images, by space.
        reference_latents: float32 `(num_references, latent_dim)`: their latents.
        latent_mean: float64 `(latent_dim,)`.
        latent_precision: float64 `(latent_dim, latent_dim)`: the inverse of their covariance.
    """

    network: Network
    neighbors: dict[str, Neighbors]
    reference_latents: Floats
    latent_mean: NDArray[np.float64]
    latent_precision: NDArray[np.float64]

    def keep_only(self, spaces: "Iterable[str]") -> "AnomalyScores":
        """The same without the neighbors in other spaces."""
        return replace(self, neighbors={space: self.neighbors[space] for space in spaces})

    def measure(self, images: Images, names: "Iterable[str]") -> dict[str, NDArray[Any]]:
        """Some of `MEASURES`, of each image; what several of them need is computed once.

        Args:
            images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`, checked.
            names: Keys of `MEASURES`.

        Returns:
            Arrays of `num_images` rows, by name.
        """
        wanted = tuple(names)
        parts = [view.measure(wanted) for view in self.views(images)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def views(self, images: Images) -> "Iterator[View]":
        """Images, a few at a time, ready to be measured.

        Args:
            images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`, checked.
        """
        for part in chunks(images, COPIES):
            yield View(self, to_float(images[part]))


@dataclass(frozen=True, eq=False)
class View:
    """A few images, and what is made of them when it is first asked for.

    Args:
        scores: What was learned of normal images.
        images: float32 in [0, 1], `(num_images, height, width, channels)`.
    """

    scores: AnomalyScores
    images: Floats

    def measure(self, names: "Iterable[str]") -> dict[str, NDArray[Any]]:
        """Some of `MEASURES`; what several of them need is computed once."""
        return {name: MEASURES[name](self) for name in names}

    @cached_property
    def edges(self) -> "_Seen":
        """The images by their edges."""
        return _Seen(EDGES, self.scores.neighbors[EDGES], self.images)

    @cached_property
    def colors(self) -> "_Seen":
        """The images by their colors."""
        return _Seen(COLORS, self.scores.neighbors[COLORS], self.images)

    @cached_property
    def rebuilt(self) -> Floats:
        """Their reconstructions."""
        return self.scores.network.reconstruct(self.images)

    def restored(self) -> Floats:
        """The normal images that come nearest to the images."""
        return self.scores.network.decode(self.restored_latents())

    def restored_latents(self, some: slice | NDArray[np.intp] = slice(None)) -> Floats:
        """The latents of the normal images that come nearest to some of the images."""
        _, indices, weights = self.edges.found
        references = self.scores.reference_latents[indices[some]]
        latents: Floats = np.einsum("ij,ijk->ik", weights[some], references)
        return latents


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


def _edges(view: View) -> Deviations:
    rebuilt = SPACES[EDGES].features(view.rebuilt)
    difference = np.subtract(view.edges.features, rebuilt, dtype=np.float64)
    total: Deviations = np.square(difference).sum(axis=1)
    return total


def _latents(view: View) -> Deviations:
    away = view.scores.network.encode(view.images) - view.scores.latent_mean
    squared: Deviations = np.einsum("ij,jk,ik->i", away, view.scores.latent_precision, away)
    return squared


def _logarithm(measure: "Callable[[View], Deviations]") -> "Callable[[View], Deviations]":
    def measured(view: View) -> Deviations:
        logarithms: Deviations = np.log(np.maximum(measure(view), LEAST_DEVIATION))
        return logarithms.round(DECIMALS)

    return measured


# Deviations are logarithms, float64 (num_images,), the higher the less normal. Heat is float64
# (num_images, rows, columns), 0 or more, for each cell of `convae.jobs.anomaly.cells`. Restored are
# the normal images that come nearest, made of the latents of the nearest neighbors: float32,
# shaped as the images.
MEASURES: "dict[str, Callable[[View], NDArray[Any]]]" = {
    "neighbors": _logarithm(lambda view: view.edges.found[0]),
    "peak": _logarithm(lambda view: view.edges.heat.max(axis=(1, 2))),
    "colors": _logarithm(lambda view: view.colors.found[0]),
    "edges": _logarithm(_edges),
    "restoration": _logarithm(lambda view: squared_errors(view.images, view.restored())),
    "reconstruction": _logarithm(lambda view: squared_errors(view.images, view.rebuilt)),
    "latents": _logarithm(_latents),
    HEATS[EDGES]: lambda view: view.edges.heat.round(DECIMALS),
    HEATS[COLORS]: lambda view: view.colors.heat.round(DECIMALS),
    RESTORED: lambda view: view.restored(),
}


def scores_for(channels: int, *, with_network: bool = True) -> tuple[str, ...]:
    """The scores for a number of channels; without the network, those that do not need it."""
    spaces = set(spaces_for(channels))
    return tuple(
        score
        for score, measures in SCORES.items()
        if spaces.issuperset(spaces_of(score))
        and (with_network or NETWORK_MEASURES.isdisjoint(measures))
    )


def spaces_of(score: str) -> tuple[str, ...]:
    """The spaces whose neighbors a score or its heat needs; always the edges."""
    return (EDGES, COLORS) if "colors" in SCORES[score] else (EDGES,)
