"""What a fitted detector does with images; it needs NumPy, and the network if its score does."""

from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.architecture.network import Network
from convae.autoencoder.applied import check_size_of
from convae.images.copies import copy_groups
from convae.images.selection import Images, ImagesLike, Selection
from convae.jobs.anomaly.calibration import Calibration
from convae.jobs.anomaly.choice import Choice
from convae.jobs.anomaly.heat import to_pixels
from convae.jobs.anomaly.scores import HEATS, RESTORED, SCORES, AnomalyScores, View, spaces_of
from convae.jobs.anomaly.stored import SETTINGS, from_job, to_job
from convae.storage.modelfile import FittedJob

Floats = NDArray[np.float64]

# In a flagged image, at least what reaches this share of its own largest heat is marked.
OWN_SHARE = 0.8
# In place of a heat of 0.
LEAST_HEAT = 1e-6


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of some images.

    Args:
        scores: float64 `(num_images,)`: higher is more normal.
        flagged: bool `(num_images,)`: which are anomalies at the rate of false alarms.
        heat: float32 `(num_images, height, width)`, as `heat_maps` returns it.
        view: The images, with what was computed of them.
    """

    scores: Floats
    flagged: NDArray[np.bool_]
    heat: NDArray[np.float32]
    view: View


class AppliedDetector(ABC):
    """The methods that `FittedDetector` and the estimator `AnomalyDetector` share."""

    false_alarm_rate: float
    scores_: AnomalyScores
    choice_: Choice
    calibration_: Calibration
    heat_units_: dict[str, float]

    def _check_fitted(self) -> None:  # noqa: B027 # what a file holds was fitted
        """Refuse an estimator that has not been fitted yet."""

    @property
    def offset_(self) -> float:
        """The score below which an image is flagged at `false_alarm_rate`.

        Raises:
            ParameterError: The rate is smaller than the calibration images can support.
        """
        self._check_fitted()
        return self.calibration_.threshold(self.false_alarm_rate)

    def calibrate(self, X: ImagesLike) -> Self:
        """Calibrate on new normal images; nothing is trained.

        Of images that are copies or near-copies of one another, the first one counts.

        Args:
            X: Normal images that neither `fit` nor the choice of the score has seen, nor copies of
                such images.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        images = Selection.of(self._checked(X))
        return self._calibrate(images.take(np.unique(copy_groups(images))))

    def _calibrate(self, images: Selection) -> Self:
        measured = self.scores_.measure(images, (*self._parts(), *self._heats()))
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
        images = self._checked(X)
        return self.choice_.combine(self.scores_.measure(images, self._parts()))

    def p_values(self, X: ArrayLike) -> Floats:
        """How often a normal image scores as low as each image: **small is suspicious**.

        Args:
            X: The images.

        Returns:
            float64 `(num_images,)`, above 0, at most 1.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        scores = self.score_samples(X)
        return self.calibration_.p_values(scores)

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

    def examine(self, X: ImagesLike, false_alarm_rate: float | None = None) -> Iterator[Findings]:
        """Judge images and see where they deviate, a few at a time; each is looked at once.

        Args:
            X: The images.
            false_alarm_rate: None takes the detector's own.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: The rate is smaller than the calibration images can support.
        """
        images = self._checked(X)
        rate = self.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        offset = self.calibration_.threshold(rate)
        for view in self.scores_.views(images):
            measured = view.measure((*self._parts(), *self._heats()))
            scores = self.choice_.combine(measured)
            flagged = scores < offset
            yield Findings(scores, flagged, self._heat_maps(measured, flagged), view)

    def heat_maps(self, X: ArrayLike, false_alarm_rate: float | None = None) -> NDArray[np.float32]:
        """Where flagged images deviate; the others are blank.

        So at most a share of `false_alarm_rate` of normal images has any heat, and no pixel is
        marked in more of them. The heat shows how far a region is from the normal ones,
        for any chosen score. Its unit is the heat that half of the normal images reach
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
        return np.concatenate([found.heat for found in self.examine(X, false_alarm_rate)])

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
        found = [(part.scores, part.heat) for part in self.examine(X)]
        scores, heat = (np.concatenate(column) for column in zip(*found, strict=True))
        return scores, heat

    def restore(self, X: ArrayLike) -> NDArray[np.float32]:
        """The normal images that come nearest: what a flagged one might have been.

        Args:
            X: The images.

        Returns:
            float32 in [0, 1], with the shape of X.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        images = self._checked(X)
        return self.scores_.measure(images, [RESTORED])[RESTORED].reshape(np.shape(X))

    def _parts(self) -> tuple[str, ...]:
        return SCORES[self.choice_.score]

    def _heats(self) -> tuple[str, ...]:
        return tuple(HEATS[space] for space in spaces_of(self.choice_.score))

    def _checked(self, X: ImagesLike) -> Images:
        self._check_fitted()
        return X if isinstance(X, Selection) else check_size_of(X, self.scores_.network)

    def _heat_maps(
        self, measured: dict[str, NDArray[Any]], flagged: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        height, width, _ = self.scores_.network.architecture.image_shape
        maps = np.zeros((len(flagged), height, width), np.float32)
        kinds = [
            measured[HEATS[space]][flagged] / max(unit, LEAST_HEAT)
            for space, unit in self.heat_units_.items()
        ]
        cells = np.maximum.reduce(kinds)
        least = np.minimum(1, OWN_SHARE * cells.max(axis=(1, 2), keepdims=True))
        heat = to_pixels(cells / np.maximum(least, LEAST_HEAT), height, width)
        maps[flagged] = np.where(heat > 1, heat, 0)
        return maps

    def to_job(self) -> FittedJob:
        """What the model file keeps of the detector, beside the network."""
        self._check_fitted()
        settings = {name: getattr(self, name) for name in SETTINGS}
        return to_job(self.scores_, self.choice_, self.calibration_, self.heat_units_, settings)


class FittedDetector(AppliedDetector):
    """A detector to be used, as a model file has it.

    Args:
        scores: What was learned of normal images.
        choice: The score that was chosen.
        calibration: The scores of normal images.
        heat_units: By space, the heat that half of them reach somewhere.
        settings: What the detector was fitted with, by the names in `SETTINGS`.
    """

    def __init__(
        self,
        scores: AnomalyScores,
        choice: Choice,
        calibration: Calibration,
        heat_units: dict[str, float],
        settings: dict[str, Any],
    ) -> None:
        self.scores_, self.choice_ = scores, choice
        self.calibration_, self.heat_units_ = calibration, heat_units
        for name in SETTINGS:
            setattr(self, name, settings[name])

    @classmethod
    def from_job(cls, job: FittedJob, network: Network, origin: str) -> Self:
        """The inverse of `to_job`, for an untrusted file.

        Args:
            job: What `convae.storage.modelfile.read_model` returned; every number is finite.
            network: The network of the same file.
            origin: What the message calls the file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        return cls(*from_job(job, network, origin))
