"""`AnomalyDetector`: a scikit-learn outlier detector around one autoencoder, kept in its file."""

import math
import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from convae.autoencoder.estimator import ConvAutoencoder
from convae.checks import fraction
from convae.errors import ModelFileError, ParameterError
from convae.images import as_images
from convae.images.selection import held_out_indices
from convae.jobs.anomaly.calibration import Calibration, check_most_anomalies, check_rate
from convae.jobs.anomaly.choice import FEWEST_IMAGES as FEWEST_CHOOSING
from convae.jobs.anomaly.choice import MOST_IMAGES, choose_score
from convae.jobs.anomaly.heat import to_pixels
from convae.jobs.anomaly.scores import (
    HEATS,
    LEAST_DEVIATION,
    RESTORED,
    SCORES,
    AnomalyScores,
    spaces_of,
)
from convae.jobs.anomaly.spaces import SPACES, spaces_for
from convae.jobs.anomaly.stored import JOB, from_job, to_job
from convae.jobs.anomaly.suspects import suspicion
from convae.storage.modelfile import FittedJob, ModelContents, read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convae.nn.train import Observer

Floats = NDArray[np.float64]

# A share of the held-out images chooses the score, and has no part in the calibration.
CHOOSING_SHARE = 0.25
# Calibration images that support a rate of 0.01: rather these, where fewer can choose as well.
WANTED = 99
FEWEST_IMAGES = 3
# Images that are not trained on, in shares of the anomalies that there may be among them.
SET_ASIDE = 2.5
# Of a flagged image, what has at least so much of its own largest heat is marked in any case.
OWN_SHARE = 0.8
# Where there is no heat at all.
LEAST_HEAT = 1e-6


def _most_suspicious(images: NDArray[Any], seed: int) -> NDArray[np.intp]:
    """Indices of images, the one least like the others first."""
    most = np.full(len(images), -np.inf)
    for space in spaces_for(images.shape[3]):
        logarithms = np.log(
            np.maximum(suspicion(SPACES[space].features(images), seed), LEAST_DEVIATION)
        )
        spread = float(logarithms.std()) or 1.0
        most = np.maximum(most, (logarithms - logarithms.mean()) / spread)
    return np.argsort(-most, kind="stable")


def _num_choosing(num_held_out: int) -> int:
    """How many of the held-out images choose the score."""
    quarter = min(MOST_IMAGES, int(CHOOSING_SHARE * num_held_out))
    spare = num_held_out - WANTED
    return spare if FEWEST_CHOOSING <= spare < quarter else quarter


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Learns from normal images alone, and flags others at a stated rate of false alarms.

    A part of the images is never trained on: their scores are what others are held against, so that
    a p-value is what it says (`convae.jobs.anomaly.calibration` states the guarantee). Of several
    scores the one is chosen that tells some of these images from made-up anomalies best.

    **Scores have scikit-learn's sign: higher is more normal.** A p-value is small where an image is
    suspicious.

    Args:
        autoencoder: An estimator that is cloned and fitted; None takes `ConvAutoencoder()`.
        false_alarm_rate: Share of normal images that may be flagged, above 0 and below 1.
        calibration_fraction: Share of the images that are held out, above 0 and below 1.
        most_anomalies: Share of the images given to `fit` that may be anomalies themselves, at most
            0.25. Above 0, so many are taken for anomalies and have no part in anything
            (`suspects_`), and one and a half times as many again are not trained on. The rate of
            false alarms is then exact only if there are as many anomalies.
        seed: Decides which, and what the made-up anomalies are.

    Attributes:
        autoencoder_: The fitted `ConvAutoencoder`.
        choice_: The score that was chosen, why, and what methods without a network would have done
            (`convae.jobs.anomaly.choice.Choice`).
        calibration_: The scores of normal images that others are held against.
        heat_units_: By space, the heat that half of these images reach somewhere.
        calibration_indices_: Indices, ascending, of the images held out; after `fit` only.
        suspects_: Indices of the images that are least like the others, the most suspicious first:
            as many as there may be anomalies; after `fit` only.

    Example:
        >>> import numpy as np
        >>> from convae import AnomalyDetector, ConvAutoencoder, load_dataset
        >>> digits = load_dataset("digits")
        >>> zeros = digits.train[digits.train_labels == 0]
        >>> small = ConvAutoencoder(filters=(8,), latent_dim=4, epochs=2)
        >>> detector = AnomalyDetector(small, false_alarm_rate=0.1).fit(zeros)
        >>> detector.predict(zeros).shape
        (151,)
    """

    def __init__(
        self,
        autoencoder: ConvAutoencoder | None = None,
        *,
        false_alarm_rate: float = 0.01,
        calibration_fraction: float = 0.2,
        most_anomalies: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.autoencoder = autoencoder
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction
        self.most_anomalies = most_anomalies
        self.seed = seed

    def fit(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002 # scikit-learn's signature
        *,
        checkpoint_path: str | os.PathLike[str] | None = None,
        resume: bool = False,
        observers: "Sequence[Observer]" = (),
    ) -> Self:
        """Train on normal images, choose a score and calibrate it.

        Args:
            X: The images, as `ConvAutoencoder` takes them.
            y: Ignored; scikit-learn passes it.
            checkpoint_path: As of `ConvAutoencoder.fit`.
            resume: As of `ConvAutoencoder.fit`.
            observers: As of `ConvAutoencoder.fit`.

        Raises:
            ParameterError: A parameter is outside its range, or there are too few images.
            ImageError: X breaks the image contract.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        """
        check_rate(self.false_alarm_rate)
        images = as_images(X)
        share = check_most_anomalies(self.most_anomalies)
        held_out = self._held_out(len(images))
        ranked = _most_suspicious(images, self.seed) if share else np.empty(0, np.intp)
        suspects = ranked[: math.ceil(share * len(images))]
        set_aside = ranked[: math.ceil(SET_ASIDE * share * len(images))]
        seen = np.setdiff1d(np.arange(len(images)), np.concatenate([held_out, set_aside]))
        # What is set aside and not suspected calibrates.
        held_out = np.setdiff1d(held_out, suspects)
        if len(seen) < 2 or not len(held_out):
            raise ParameterError(
                f"most_anomalies must leave images to learn from and to calibrate on; received "
                f"{share} of {len(images)} images. Lower it or add images."
            )
        train = np.asarray(X)[seen]
        autoencoder = ConvAutoencoder() if self.autoencoder is None else clone(self.autoencoder)
        autoencoder.fit(train, checkpoint_path=checkpoint_path, resume=resume, observers=observers)
        train = as_images(train)
        scores = AnomalyScores.fit(autoencoder, train, self.seed)
        choosing = _num_choosing(len(held_out))
        order = np.random.default_rng([self.seed, 1]).permutation(held_out)
        choice = choose_score(scores, images[np.sort(order[:choosing])], train, self.seed)
        calibrating = np.sort(order if not choice.aurocs else order[choosing:])

        self.autoencoder_ = autoencoder
        self._scores = scores.keep_only(spaces_of(choice.score))
        self.choice_ = choice
        self.calibration_indices_ = calibrating
        self.suspects_ = suspects
        return self.calibrate(images[calibrating])

    @property
    def offset_(self) -> float:
        """The score below which an image is flagged at `false_alarm_rate`.

        Raises:
            ParameterError: The rate is smaller than the calibration images can support.
        """
        check_is_fitted(self, "autoencoder_")
        return self.calibration_.threshold(self.false_alarm_rate)

    def calibrate(self, X: ArrayLike) -> Self:
        """Hold others against new normal images from now on; nothing is trained.

        Args:
            X: Normal images that neither `fit` nor the choice of the score has seen.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        measured = self._measure(X, *self._parts(), *self._heats())
        self.calibration_ = Calibration(self.choice_.combine(measured))
        self.heat_units_ = {
            space: float(np.median(measured[HEATS[space]].max(axis=(1, 2))))
            for space in spaces_of(self.choice_.score)
        }
        return self

    def score_samples(self, X: ArrayLike) -> Floats:
        """How normal images are: **higher is more normal**.

        Args:
            X: The images.

        Returns:
            float64 `(num_images,)`, without a unit.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        return self.choice_.combine(self._measure(X, *self._parts()))

    def p_values(self, X: ArrayLike) -> Floats:
        """How often a normal image scores as low as each image: **small is suspicious**.

        Args:
            X: The images.

        Returns:
            float64 `(num_images,)`, above 0, at most 1.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        return self.calibration_.p_values(self.score_samples(X))

    def decision_function(self, X: ArrayLike) -> Floats:
        """The score above the threshold: **negative for an anomaly** at `false_alarm_rate`.

        Args:
            X: The images.

        Returns:
            float64 `(num_images,)`.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: The rate is smaller than the calibration images can support.
        """
        offset = self.offset_
        return self.score_samples(X) - offset

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """-1 for an anomaly, 1 for a normal image.

        Args:
            X: The images.

        Returns:
            int64 `(num_images,)`; -1 where the p-value is at most `false_alarm_rate`.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: The rate is smaller than the calibration images can support.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def heat_maps(self, X: ArrayLike, false_alarm_rate: float | None = None) -> NDArray[np.float32]:
        """Where flagged images deviate; the others are blank.

        So of normal images, a share of at most `false_alarm_rate` has any heat at all, and each
        pixel is marked in no more of them. The heat shows how far a region is from the normal ones,
        whatever the score that was chosen. Its unit is what half of the normal images reach
        somewhere; a flagged image that hardly does is marked where it deviates most.

        Args:
            X: The images.
            false_alarm_rate: None takes the detector's own.

        Returns:
            float32 `(num_images, height, width)`: 0, or above 1.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: The rate is smaller than the calibration images can support.
        """
        rate = self.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        return self._judge(X, rate)[1]

    def judge(self, X: ArrayLike) -> tuple[Floats, NDArray[np.float32]]:
        """Scores and heat maps together, in about the time of one of them.

        Args:
            X: The images.

        Returns:
            What `score_samples` and `heat_maps` return.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: The rate is smaller than the calibration images can support.
        """
        return self._judge(X, self.false_alarm_rate)

    def restore(self, X: ArrayLike) -> NDArray[np.float32]:
        """The normal images that come nearest: what a flagged one might have been.

        Args:
            X: The images.

        Returns:
            float32 in [0, 1], of the very shape of X.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        return self._measure(X, RESTORED)[RESTORED].reshape(np.asarray(X).shape)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the one model file, whole or not at all; it is the autoencoder's file too.

        Raises:
            OutputError: The file cannot be written.
        """
        write_model(path, self.to_contents())

    def to_contents(self) -> ModelContents:
        """What `save` writes."""
        check_is_fitted(self, "autoencoder_")
        return self.autoencoder_.to_contents().with_jobs({JOB: self._job()})

    def tables(self) -> dict[str, NDArray[Any]]:
        """The arrays that the file keeps beside the autoencoder's weights, by name."""
        check_is_fitted(self, "autoencoder_")
        return dict(self._job().tables)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file, which may come from a stranger: nothing in it is ever run.

        Raises:
            ModelFileError: The file is missing, damaged, hostile or too new, or has no detector.
        """
        contents = read_model(path)
        if JOB not in contents.jobs:
            raise ModelFileError(
                f"{path} must hold an anomaly detector; received a model without one. Make one: "
                f"convae train NORMAL_IMAGES --anomalies."
            )
        autoencoder = ConvAutoencoder.from_contents(contents, str(path))
        scores, choice, calibration, heat_units, settings = from_job(
            contents.jobs[JOB], autoencoder, str(path)
        )
        detector = cls(autoencoder, **settings)
        detector.autoencoder_ = autoencoder
        detector._scores = scores
        detector.choice_ = choice
        detector.calibration_, detector.heat_units_ = calibration, heat_units
        return detector

    def _parts(self) -> tuple[str, ...]:
        check_is_fitted(self, "autoencoder_")
        return SCORES[self.choice_.score]

    def _heats(self) -> tuple[str, ...]:
        return tuple(HEATS[space] for space in spaces_of(self.choice_.score))

    def _measure(self, X: ArrayLike, *names: str) -> dict[str, NDArray[Any]]:
        check_is_fitted(self, "autoencoder_")
        return self._scores.measure(self.autoencoder_.checked(X), names)

    def _judge(self, X: ArrayLike, rate: float) -> tuple[Floats, NDArray[np.float32]]:
        check_is_fitted(self, "autoencoder_")
        offset = self.calibration_.threshold(rate)
        measured = self._measure(X, *self._parts(), *self._heats())
        scores = self.choice_.combine(measured)
        return scores, self._heat_maps(measured, scores < offset)

    def _heat_maps(
        self, measured: dict[str, NDArray[Any]], flagged: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        kinds = [
            measured[HEATS[space]] / max(unit, LEAST_HEAT)
            for space, unit in self.heat_units_.items()
        ]
        cells = np.maximum.reduce(kinds)
        least = np.minimum(1, OWN_SHARE * cells.max(axis=(1, 2), keepdims=True))
        height, width, _ = self.autoencoder_.architecture_.image_shape
        heat = to_pixels(cells / np.maximum(least, LEAST_HEAT), height, width)
        return np.where(flagged[:, np.newaxis, np.newaxis] & (heat > 1), heat, 0).astype(np.float32)

    def _held_out(self, num_images: int) -> NDArray[np.intp]:
        if num_images < FEWEST_IMAGES:
            raise ParameterError(
                f"A detector must have {FEWEST_IMAGES} images, 2 to learn from and 1 to calibrate "
                f"on; received n_samples = {num_images}. Add normal images."
            )
        fraction(self.calibration_fraction, "calibration_fraction", 0, 1, open_low=True)
        indices = held_out_indices(
            num_images, self.calibration_fraction, self.seed, "calibration_fraction"
        )
        if num_images - len(indices) < 2:
            raise ParameterError(
                f"calibration_fraction must leave at least 2 images to learn from; received "
                f"{self.calibration_fraction} of {num_images} images. Lower it or add images."
            )
        return indices

    def _job(self) -> FittedJob:
        return to_job(
            self._scores, self.choice_, self.calibration_, self.heat_units_, self._settings()
        )

    def _settings(self) -> dict[str, Any]:
        names = ("false_alarm_rate", "calibration_fraction", "most_anomalies", "seed")
        return {name: getattr(self, name) for name in names}

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 # scikit-learn's Tags is untyped
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags
