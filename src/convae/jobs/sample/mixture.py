"""A mixture of Gaussians with full covariances, over latents."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError
from convae.storage.modelfile import FittedJob, reading_job
from convae.storage.tables import Table, check_tables

Floats = NDArray[np.float64]

MOST_COMPONENTS = 1_024
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
    """

    weights: Floats
    means: Floats
    factors: Floats

    @property
    def latent_dim(self) -> int:
        """Numbers per image."""
        return int(self.means.shape[1])

    def draw(self, num_images: int, random: np.random.Generator) -> Floats:
        """New latents.

        Args:
            num_images: How many.
            random: Draws them.

        Returns:
            float64 `(num_images, latent_dim)`.
        """
        chosen = random.choice(len(self.weights), size=num_images, p=self.weights)
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
        return FittedJob({}, tables)

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
            if job.settings:
                raise ParameterError(f"A sampler has no settings; received {job.settings!r:.80}.")
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
        return cls(job.tables["weights"], job.tables["means"], factors)
