"""`LatentSampler`: new images like those that an autoencoder was trained on."""

import math
import warnings
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from convae.architecture.plan import Architecture
from convae.architecture.run import UNOBSERVED, RunOptions
from convae.autoencoder.estimator import ConvAutoencoder
from convae.checks import whole_number
from convae.coding.threads import threads
from convae.errors import ParameterError
from convae.images.copies import copy_groups
from convae.images.memory import chunks
from convae.images.selection import ImagesLike, Selection, drawn_indices, held_out_indices
from convae.jobs.job import Job, Material, Progress
from convae.jobs.sample import JOB
from convae.jobs.sample.fitted import AppliedSampler
from convae.jobs.sample.mixture import Mixture, label_names
from convae.jobs.training import fit_job
from convae.report.result import Result
from convae.storage.modelfile import FittedJob

Floats = NDArray[np.float64]

# Numbers of components that are tried, as far as there are that many images for each.
COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)
FEWEST_A_COMPONENT = 8
# Added to the variance of whitened latents, so that no component collapses on a few images.
LEAST_VARIANCE = 1e-2
# Most images that the mixture is fitted on, and the share of them that decides.
MOST_IMAGES, HELD_OUT = 20_000, 0.2
# So many let two components be tried.
ENOUGH = math.ceil(2 * FEWEST_A_COMPONENT / (1 - HELD_OUT))
MOST_ITERATIONS = 100
# Of the largest: directions with less spread are noise.
LEAST_SPREAD = 1e-4


class LatentSampler(AppliedSampler, Job, BaseEstimator):  # type: ignore[misc] # sklearn is untyped
    """Learns which latents images of one kind have, and makes new images from such latents.

    The density is a mixture of Gaussians with full covariances. How many there are is decided by
    the likelihood of images held out, with their copies; then all images are used.

    Args:
        autoencoder: The estimator whose file the sampler is kept in. One that is fitted is used as
            it is; otherwise a clone is fitted. None takes `ConvAutoencoder()`.
        by_label: Whether each kind of image gets Gaussians of its own, so that `sample` can be
            asked for a label. At most 1,024 kinds.
        seed: Decides which images are drawn, and where the mixture begins.

    Attributes:
        autoencoder_: The fitted `ConvAutoencoder`.
        mixture_: The density (`convae.jobs.sample.mixture.Mixture`).
        log_likelihoods_: For each number of components that was tried, the mean log-likelihood of
            held-out latents in nats per image; empty for fewer than ten images. `load` does not set
            it.

    Example:
        >>> from convae import LatentSampler, load_dataset
        >>> digits = load_dataset("digits").train
        >>> sampler = LatentSampler().fit(digits)  # doctest: +SKIP
        >>> images = sampler.sample(100, seed=1)  # doctest: +SKIP
    """

    kind = JOB

    def __init__(
        self,
        autoencoder: ConvAutoencoder | None = None,
        *,
        by_label: bool = False,
        seed: int = 0,
    ) -> None:
        self.autoencoder = autoencoder
        self.by_label = by_label
        self.seed = seed

    def fit(
        self,
        X: ImagesLike,
        y: ArrayLike | None = None,
        *,
        run: RunOptions = UNOBSERVED,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from images.

        Args:
            X: The images, as `ConvAutoencoder` takes them.
            y: The label of each image, `(num_images,)`, numbers or texts; used if `by_label`.
            run: As in `ConvAutoencoder.fit`.
            progress: Called with the mixtures fitted and all mixtures.

        Raises:
            ParameterError: A parameter is outside its range, or `by_label` goes without labels.
            ImageError: X breaks the image contract.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        """
        labels = y if self.by_label else None
        fit_job(self, X, self.autoencoder, run=run, labels=labels, progress=progress)
        return self

    def check(self) -> None:
        """Refuse parameters outside their ranges, before anything is read.

        Raises:
            ParameterError: The seed is.
        """
        whole_number(self.seed, "seed", 0, 2**32 - 1)

    def check_fit(self, architecture: Architecture, material: Material) -> None:
        """Refuse to learn by label without labels, or with too many.

        Raises:
            ParameterError: There are none, or too many.
        """
        del architecture
        if self.by_label:
            if material.labels is None:
                raise ParameterError(
                    "Learning by label needs a label for each image; received none. Use a data set "
                    "with labels, put each kind of picture into a folder of its own, or leave "
                    "by_label (--by-label) out."
                )
            label_names(np.unique(material.labels.astype(str)).tolist())

    def fit_beside(self, autoencoder: ConvAutoencoder, material: Material) -> Self:
        """Fit the density of latents.

        Args:
            autoencoder: The fitted estimator.
            material: What to learn from; all its images.

        Raises:
            ParameterError: The seed is outside its range, or there are no labels to learn by.
        """
        self.check()
        self.check_fit(autoencoder.architecture_, material)
        drawn = drawn_indices(len(material.images), MOST_IMAGES, self.seed)
        images = material.images.take(drawn)
        labels: tuple[str, ...] = ()
        owners = np.zeros(len(images), np.int64)
        if self.by_label and material.labels is not None:
            found, owners = np.unique(material.labels[drawn].astype(str), return_inverse=True)
            labels = tuple(found.tolist())
        parts = [autoencoder.transform(images[part]) for part in chunks(images)]
        latents = np.concatenate(parts).astype(np.float64)
        whitening = _Whitening.of(latents)
        white = whitening.whiten(latents)
        self.log_likelihoods_ = self._tried(images, white, owners, material.progress)
        best = max(self.log_likelihoods_, key=self.log_likelihoods_.__getitem__, default=1)
        self.autoencoder_ = autoencoder
        fitted = _fitted(white, owners, best, self.seed)
        self.mixture_ = whitening.mixture(fitted, labels)
        return self

    def _tried(
        self,
        images: Selection,
        white: Floats,
        owners: NDArray[np.int64],
        progress: Progress | None,
    ) -> dict[int, float]:
        """The log-likelihood of held-out latents by the number of components."""
        if len(white) < 1 / HELD_OUT * 2:
            return {}
        held_out = held_out_indices(len(white), HELD_OUT, self.seed, groups=copy_groups(images))
        seen = np.setdiff1d(np.arange(len(white)), held_out)
        most = max(1, int(np.bincount(owners[seen]).max()) // FEWEST_A_COMPONENT)
        found: dict[int, float] = {}
        for number, count in enumerate(COMPONENTS):
            if count > most or (len(found) > 2 and _falls(found)):
                break
            fitted = _fitted(white[seen], owners[seen], count, self.seed)
            found[count] = _score(fitted, white[held_out], owners[held_out])
            if progress is not None:
                progress(number + 1, len(COMPONENTS) + 1)
        if progress is not None:
            progress(len(COMPONENTS), len(COMPONENTS) + 1)
        return found

    def to_job(self) -> FittedJob:
        """What the model file keeps beside the network."""
        return self.mixture_.to_job()

    def describe(self) -> Result:
        """How many Gaussians there are, and what one alone would give."""
        count, tried = len(self.mixture_.weights), self.log_likelihoods_
        figures: dict[str, Any] = {
            "components": count,
            "log_likelihoods": {str(tries): value for tries, value in tried.items()},
        }
        each = ""
        line = f"for `convae sample`: a mixture of {count} Gaussians over the latents"
        if self.mixture_.labels:
            figures["labels"] = list(self.mixture_.labels)
            line += f", for {len(self.mixture_.labels)} labels"
            each = " each"
        if tried:
            line += (
                f" (log-likelihood of held-out images {max(tried.values()):.2f} nats; one "
                f"Gaussian{each} gives {tried[1]:.2f})"
            )
        lines = [line]
        if len(tried) < 2:
            lines.append(
                f"  too few images to try more than one{each}: {ENOUGH} of them are needed"
                + (" with one label" if each else "")
            )
        return Result(figures, lines)

    @classmethod
    def from_job(cls, job: FittedJob, autoencoder: ConvAutoencoder, origin: str) -> Self:
        """A fitted sampler from what `to_job` gave, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        sampler = cls(autoencoder)
        sampler.autoencoder_ = autoencoder
        latent_dim = autoencoder.architecture_.latent_dim
        sampler.mixture_ = Mixture.from_job(job, latent_dim, origin)
        return sampler

    def _check_fitted(self) -> None:
        check_is_fitted(self, "mixture_")


class _Whitening:
    """Brings latents to zero mean and unit covariance, and a mixture of such latents back.

    Args:
        mean: Of the latents, `(latent_dim,)`.
        factor: A square root of their covariance, `(latent_dim, latent_dim)`.
        inverse: Its inverse, but that it does not enlarge directions without spread.
    """

    def __init__(self, mean: Floats, factor: Floats, inverse: Floats) -> None:
        self.mean, self.factor, self.inverse = mean, factor, inverse

    @classmethod
    def of(cls, latents: Floats) -> Self:
        mean = latents.mean(axis=0)
        _, scales, directions = np.linalg.svd(latents - mean, full_matrices=False)
        scales = scales / np.sqrt(max(1, len(latents) - 1))
        least = max(LEAST_SPREAD * float(scales.max(initial=0)), np.finfo(np.float32).tiny)
        # Where nothing varies there is nothing to draw.
        kept = np.where(scales > least, scales, 0)
        inverse = np.divide(1, kept, out=np.zeros_like(kept), where=kept > 0)
        return cls(mean, directions.T * kept, directions.T * inverse)

    def whiten(self, latents: Floats) -> Floats:
        return (latents - self.mean) @ self.inverse

    def mixture(self, fitted: "_Fitted", labels: tuple[str, ...]) -> Mixture:
        """The mixture of latents that mixtures of whitened ones stand for."""
        total = sum(share for share, _ in fitted.values())
        weights = np.concatenate([share * each.weights_ for share, each in fitted.values()]) / total
        means = np.concatenate([each.means_ for _, each in fitted.values()])
        roots = [np.linalg.cholesky(each.covariances_) for _, each in fitted.values()]
        counts = [len(each.weights_) for _, each in fitted.values()]
        owners = np.repeat(np.fromiter(fitted, np.int64), counts)
        # Any root of a covariance becomes its Cholesky factor by a rotation: L = R^T of QR.
        turned = (self.factor @ np.concatenate(roots)).transpose(0, 2, 1)
        triangles = np.asarray(np.linalg.qr(turned, mode="r")).transpose(0, 2, 1)
        signs = np.where(np.diagonal(triangles, axis1=1, axis2=2) < 0, -1.0, 1.0)
        factors = np.zeros((len(means), len(self.mean), len(self.mean)))
        factors[:, :, : triangles.shape[2]] = triangles * signs[:, np.newaxis, :]
        return Mixture(
            weights / weights.sum(), self.mean + means @ self.factor.T, np.tril(factors), labels,
            owners if labels else None,
        )  # fmt: skip


# For each owner how many latents it has, and their mixture.
_Fitted: TypeAlias = dict[int, tuple[int, GaussianMixture]]


def _fitted(white: Floats, owners: NDArray[np.int64], count: int, seed: int) -> _Fitted:
    """A mixture for the latents of each owner, of so many components where there are enough."""

    def mixture_of(own: Floats) -> GaussianMixture:
        fewer = min(count, max(1, len(own) // FEWEST_A_COMPONENT))
        if len(own) == 1:  # scikit-learn wants two
            own = np.repeat(own, 2, axis=0)
        mixture = GaussianMixture(
            fewer, reg_covar=LEAST_VARIANCE, max_iter=MOST_ITERATIONS, random_state=seed
        )
        return mixture.fit(own)

    parts = {owner: white[owners == owner] for owner in np.unique(owners).tolist()}
    # Many small products: shared out over cores each by itself, they take ten times as long.
    with warnings.catch_warnings(), threads() as run:
        # That it would still get a little better after so many steps, or that images are equal.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixtures = list(run(mixture_of, parts.values()))
    return {
        owner: (len(own), mixture)
        for (owner, own), mixture in zip(parts.items(), mixtures, strict=True)
    }


def _score(fitted: _Fitted, white: Floats, owners: NDArray[np.int64]) -> float:
    """The mean log-likelihood of latents whose owners are known; others do not count."""
    found = [
        mixture.score_samples(white[owners == owner])
        for owner, (_, mixture) in fitted.items()
        if (owners == owner).any()
    ]
    return float(np.concatenate(found).mean()) if found else 0.0


def _falls(found: dict[int, float]) -> bool:
    """Whether the last two of what was tried were both worse than what came before."""
    *before, one, two = found.values()
    return max(one, two) < max(before)
