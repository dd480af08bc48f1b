"""A mixture of Gaussians with full covariances, over latents; each may belong to a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError
from convae.storage.modelfile import FittedJob, reading_job
from convae.storage.tables import Table, check_tables

Floats = NDArray[np.float64]

MOST_COMPONENTS = 1_024
MOST_LABELS, LONGEST_LABEL, LABELS_TOLD = 1_024, 200, 20
# Latents of a network in float32 are far smaller.
LARGEST = 1e30
# How far from 1 the sum of the weights may be.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, slots=True)
class Mixture:
    """Where latents lie, and how densely.

    Args:
        weights: Share of each component, float64 `(num_components,)`; they add up to 1.
        means: float64 `(num_components, latent_dim)`.
        factors: The Cholesky factor of each covariance, float64
            `(num_components, latent_dim, latent_dim)`: lower triangles, no negative diagonals.
        labels: Each kind of image; none if they were learned together.
        owners: The position in `labels` that each component belongs to, int64
            `(num_components,)`; None if there are no labels.
    """

    weights: Floats
    means: Floats
    factors: Floats
    labels: tuple[str, ...] = ()
    owners: NDArray[np.int64] | None = None

    @property
    def latent_dim(self) -> int:
        """Numbers per image."""
        return int(self.means.shape[1])

    def draw(
        self, num_images: int, random: np.random.Generator, label: str | None = None
    ) -> Floats:
        """New latents.

        Args:
            num_images: How many.
            random: Draws them.
            label: Of which kind; None draws all kinds, each as often as it was learned from.

        Returns:
            float64 `(num_images, latent_dim)`.

        Raises:
            ParameterError: There is no such label.
        """
        weights = self.weights
        if label is not None:
            if self.owners is None:
                raise ParameterError(
                    f"A label needs a sampler that was fitted by label; received {label!r:.80} for "
                    f"one that was not. Leave it out, or fit with by_label=True (--by-label)."
                )
            if label not in self.labels:
                more = " and others" if len(self.labels) > LABELS_TOLD else ""
                raise ParameterError(
                    f"label must be one of {', '.join(self.labels[:LABELS_TOLD])}{more}; received "
                    f"{label!r:.80}. Choose one of them."
                )
            weights = np.where(self.owners == self.labels.index(label), weights, 0)
        chosen = random.choice(len(weights), size=num_images, p=weights / weights.sum())
        return self.around(chosen, random.standard_normal((num_images, self.latent_dim)))

    def around(self, components: NDArray[np.intp], steps: Floats) -> Floats:
        """Latents at so many standard deviations from the means of components.

        Args:
            components: Which one for each, `(num_images,)`.
            steps: float64 `(num_images, latent_dim)`.
        """
        found = np.empty_like(steps)
        for component in np.unique(components):
            own = components == component
            found[own] = self.means[component] + steps[own] @ self.factors[component].T
        return found

    def spread(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each number, over the whole mixture."""
        mean = self.weights @ self.means
        variances = np.square(self.factors).sum(axis=2) + np.square(self.means - mean)
        return mean, np.sqrt(self.weights @ variances)

    def nearest(self, latents: Floats) -> int:
        """The component that most likely gave some latents, `(latent_dim,)`."""
        return int(np.argmax([self._log_share(latents, k) for k in range(len(self.weights))]))

    def _log_share(self, latents: Floats, component: int) -> float:
        factor, share = self.factors[component], self.weights[component]
        # A direction without spread says nothing.
        diagonal = np.maximum(np.diagonal(factor), np.finfo(np.float32).tiny)
        whole = factor - np.diag(np.diagonal(factor)) + np.diag(diagonal)
        steps = np.linalg.solve(whole, latents - self.means[component])
        with np.errstate(divide="ignore", over="ignore"):
            return float(np.log(share) - np.log(diagonal).sum() - np.square(steps).sum() / 2)

    def to_job(self) -> FittedJob:
        """What the model file keeps."""
        tables = {"weights": self.weights, "means": self.means, "factors": self.factors}
        if self.owners is None:
            return FittedJob({}, tables)
        return FittedJob({"labels": list(self.labels)}, {**tables, "owners": self.owners})

    @classmethod
    def from_job(cls, job: FittedJob, latent_dim: int, origin: str) -> Self:
        """The inverse of `to_job`, for an untrusted file.

        Args:
            job: What `convae.storage.modelfile.read_model` returned.
            latent_dim: That of the network of the same file.
            origin: What the message calls the file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        declared = {
            "weights": Table(np.float64, ("components",), 0, 1),
            "means": Table(np.float64, ("components", "numbers"), -LARGEST, LARGEST),
            "factors": Table(np.float64, ("components", "numbers", "numbers"), -LARGEST, LARGEST),
        }
        with reading_job(origin):
            labels = _labels(job.settings)
            if labels:
                declared["owners"] = Table(np.int64, ("components",), 0, len(labels) - 1)
            sizes = check_tables(job.tables, declared, "A sampler", {"numbers": latent_dim})
            if sizes["components"] > MOST_COMPONENTS:
                raise ParameterError(
                    f"A sampler may have at most {MOST_COMPONENTS:,} components; received "
                    f"{sizes['components']:,}."
                )
            total = float(job.tables["weights"].sum())
            if abs(total - 1) > ROUNDING:
                raise ParameterError(f"weights must add up to 1; received {total:.12g}.")
            factors = job.tables["factors"]
            if np.triu(factors, 1).any() or (np.diagonal(factors, axis1=1, axis2=2) < 0).any():
                raise ParameterError("factors must be lower triangles without negative diagonals.")
            weights, owners = job.tables["weights"], job.tables.get("owners")
            if owners is not None and not np.bincount(owners, weights, len(labels)).all():
                raise ParameterError("Each label must have a component of some weight.")
        return cls(weights, job.tables["means"], factors, labels, owners)


def _labels(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of an untrusted document; none, if it has none.

    Raises:
        ParameterError: Something else is there.
    """
    if not settings:
        return ()
    found = settings.get("labels")
    if set(settings) != {"labels"} or not isinstance(found, list):
        raise ParameterError(
            f"A sampler has a list of labels or no settings; received {settings!r:.80}."
        )
    checked = label_names(found)
    if len(set(checked)) < len(checked):
        raise ParameterError("The labels of a sampler must differ.")
    return checked


def label_names(labels: Sequence[object]) -> tuple[str, ...]:
    """Labels that a file can keep.

    Raises:
        ParameterError: There are none or too many, or one is no text or too long.
    """
    if not 1 <= len(labels) <= MOST_LABELS:
        raise ParameterError(
            f"There must be 1 to {MOST_LABELS:,} labels; received {len(labels):,}. Fit without "
            f"labels."
        )
    names = tuple(label for label in labels if isinstance(label, str))
    if len(names) < len(labels) or max(map(len, names)) > LONGEST_LABEL:
        raise ParameterError(
            f"Each label must be a text of at most {LONGEST_LABEL} characters; received "
            f"{list(labels)!r:.80}. Name them otherwise."
        )
    return names
