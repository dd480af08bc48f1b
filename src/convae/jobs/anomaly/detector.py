"""`AnomalyDetector`: a scikit-learn outlier detector around one autoencoder, kept in its file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from convae.architecture.run import UNOBSERVED, RunOptions
from convae.autoencoder.estimator import ConvAutoencoder
from convae.checks import fraction
from convae.errors import ParameterError
from convae.images.copies import copies_told, copy_groups, num_copies, one_of_each
from convae.images.selection import ImagesLike, Indices, Selection, held_out_indices
from convae.jobs.anomaly import JOB
from convae.jobs.anomaly.calibration import Calibration, check_most_anomalies, check_rate
from convae.jobs.anomaly.choose import FEWEST_IMAGES as FEWEST_CHOOSING
from convae.jobs.anomaly.choose import MOST_IMAGES, choose_score
from convae.jobs.anomaly.fitted import AppliedDetector
from convae.jobs.anomaly.learn import fit_scores
from convae.jobs.anomaly.scores import LEAST_DEVIATION, spaces_of
from convae.jobs.anomaly.spaces import SPACES, spaces_for
from convae.jobs.anomaly.stored import from_job
from convae.jobs.anomaly.suspects import suspicion
from convae.jobs.job import Job, Material
from convae.jobs.training import train_model
from convae.report.result import Result
from convae.report.tables import csv_table
from convae.storage.files import write_whole
from convae.storage.modelfile import FittedJob

SUSPECTS = "suspects.csv"

# The rate of false alarms if none is asked for.
USUAL_RATE = 0.01
# This share of the held-out images chooses the score; the others calibrate.
CHOOSING_SHARE = 0.25
FEWEST_IMAGES = 3
# Images that are not trained on, in shares of the anomalies that there may be among them.
SET_ASIDE = 2.5


def _most_suspicious(images: Selection, seed: int) -> NDArray[np.intp]:
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
    """How many of the held-out images choose the score; few, if a usual rate needs the others."""
    quarter = min(MOST_IMAGES, int(CHOOSING_SHARE * num_held_out))
    spare = num_held_out - Calibration.num_needed(USUAL_RATE)
    return spare if FEWEST_CHOOSING <= spare < quarter else quarter


class AnomalyDetector(AppliedDetector, Job, OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Learns from normal images alone, and flags others at a stated rate of false alarms.

    Part of the images is never trained on, nor are copies of them; their scores calibrate the
    p-values (`convae.jobs.anomaly.calibration` states the guarantee). The score is chosen, among
    several, as the one that best tells some of these images from made-up anomalies.

    **Scores have scikit-learn's sign: higher is more normal.** A small p-value is
    suspicious.

    Args:
        autoencoder: An estimator that is cloned and fitted; None takes `ConvAutoencoder()`.
        false_alarm_rate: Share of normal images that may be flagged, above 0 and below 1.
        calibration_fraction: Share of the images that are held out, above 0 and below 1.
        most_anomalies: Largest share of the images given to `fit` that may be anomalies, at most
            0.25. Above 0, the most suspicious images, up to this share, are excluded
            (`suspects_`), and one and a half times as many again are not trained on. The rate of
            false alarms is then exact only if there are as many anomalies.
        seed: Decides which images are held out, and what the made-up anomalies are.

    Attributes:
        autoencoder_: The fitted `ConvAutoencoder`.
        choice_: The score that was chosen, why, and what methods without a network would have done
            (`convae.jobs.anomaly.choice.Choice`).
        calibration_: The scores of the calibration images.
        heat_units_: By space, the heat that half of these images reach somewhere.
        calibration_indices_: Indices, ascending, of the images held out; after `fit` only.
        num_copies_: How many images are copies or near-copies of others. They are on one side of
            every split, and one of each group calibrates; after `fit` only.
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

    kind = JOB

    def __init__(
        self,
        autoencoder: ConvAutoencoder | None = None,
        *,
        false_alarm_rate: float = USUAL_RATE,
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
        X: ImagesLike,
        y: object = None,  # noqa: ARG002 # scikit-learn's signature
        *,
        run: RunOptions = UNOBSERVED,
    ) -> Self:
        """Train on normal images, choose a score and calibrate it.

        Args:
            X: The images, as `ConvAutoencoder` takes them.
            y: Ignored; scikit-learn passes it.
            run: As in `ConvAutoencoder.fit`.

        Raises:
            ParameterError: A parameter is outside its range, or there are too few images.
            ImageError: X breaks the image contract.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        """
        autoencoder = ConvAutoencoder() if self.autoencoder is None else clone(self.autoencoder)
        train_model(X, autoencoder, [self], run=run)
        return self

    def check(self) -> None:
        """Refuse parameters outside their ranges, before anything is read.

        Raises:
            ParameterError: One of them is.
        """
        check_rate(self.false_alarm_rate)
        check_most_anomalies(self.most_anomalies)
        fraction(self.calibration_fraction, "calibration_fraction", 0, 1, open_low=True)

    def reserve(self, images: Selection) -> Indices:
        """Positions of the images that are held out, and of those set aside as suspicious.

        Raises:
            ParameterError: There are too few images, or a parameter is outside its range.
        """
        self.check()
        share = self.most_anomalies
        copies = copy_groups(images)
        held_out, groups = self._held_out(copies)
        ranked = _most_suspicious(images, self.seed) if share else np.empty(0, np.intp)
        suspects = ranked[: math.ceil(share * len(images))]
        set_aside = ranked[: math.ceil(SET_ASIDE * share * len(images))]
        reserved = np.union1d(held_out, set_aside)
        # Held-out images that are set aside but not suspected still calibrate.
        held_out = one_of_each(np.setdiff1d(held_out, suspects), groups, self.seed)
        if len(images) - len(reserved) < 2 or not len(held_out):
            raise ParameterError(
                f"most_anomalies must leave images to learn from and to calibrate on; received "
                f"{share} of {len(images)} images. Lower it or add images."
            )
        self.suspects_, self.num_copies_ = suspects, num_copies(copies)
        self._groups, self._parted = groups, groups is not copies
        self._reserved, self._held_out_indices = reserved, held_out
        return reserved

    def fit_beside(self, autoencoder: ConvAutoencoder, material: Material) -> Self:
        """Learn what is normal beside a trained network, choose a score and calibrate it.

        Args:
            autoencoder: The fitted estimator.
            material: What to learn from; `reserve` was called with its images. If the network was
                trained on the reserved ones too, no score that needs it is chosen.
        """
        images, held_out = material.images, self._held_out_indices
        train = images.without(self._reserved)
        groups = np.delete(self._groups, self._reserved)
        scores = fit_scores(autoencoder.network_, train, self.seed)
        choosing = _num_choosing(len(held_out))
        order = np.random.default_rng([self.seed, 1]).permutation(held_out)
        choice = choose_score(
            scores,
            images.take(np.sort(order[:choosing])),
            train,
            self.seed,
            groups=groups,
            with_network=not material.network_saw_all,
        )
        calibrating = np.sort(order if not choice.aurocs else order[choosing:])

        self.autoencoder_ = autoencoder
        self.scores_ = scores.keep_only(spaces_of(choice.score))
        self.choice_ = choice
        self.calibration_indices_ = calibrating
        return self._calibrate(images.take(calibrating))

    def judged(self) -> Indices:
        """Positions of the calibration images, which the network was not trained on."""
        return self.calibration_indices_

    def describe(self) -> Result:
        """The score that was chosen, and what methods without a network would have done."""
        choice, calibration = self.choice_, self.calibration_
        warnings = [*self._too_few_told(), *self._copies_told(), *choice.warnings()]
        figures = {
            "score": choice.score,
            "reason": choice.reason,
            "made_up_auroc": choice.aurocs,
            "cheap_made_up_auroc": choice.cheap_aurocs,
            "num_calibration_images": len(calibration.scores),
            "num_copies": self.num_copies_,
            "smallest_false_alarm_rate": calibration.smallest_rate,
            "warnings": warnings,
        }
        texts = [
            f"for `convae detect`, the score {choice.score!r}: {choice.reason}",
            f"  {len(calibration.scores):,} calibration images support false-alarm rates from "
            f"{calibration.smallest_rate:.3g}",
        ]
        return Result(figures, [*texts, *warnings])

    def _too_few_told(self) -> list[str]:
        needed = self.calibration_.num_needed(self.false_alarm_rate)
        missing = needed - len(self.calibration_.scores)
        if missing <= 0:
            return []
        more = math.ceil(missing / self.calibration_fraction)
        return [
            f"too few for a false-alarm rate of {self.false_alarm_rate:g}, which needs {needed:,} "
            f"calibration images: train with some {more:,} more images, or calibrate on {needed:,} "
            f"others (`convae detect --calibrate`)"
        ]

    def _copies_told(self) -> list[str]:
        if not self.num_copies_:
            return []
        if self._parted:
            return [
                "nearly all images are copies or near-copies of one another, and they are on both "
                "sides of every split: the rate of false alarms does not hold for other images"
            ]
        return [copies_told(self.num_copies_)]

    def write(self, folder: Path, names: Sequence[str]) -> dict[str, str]:
        """Write `suspects.csv` if there are any, the most suspicious image first.

        Args:
            folder: Where to.
            names: One for each image.

        Raises:
            OutputError: The file cannot be written.
        """
        if not len(self.suspects_):
            return {}
        rows = [(rank, names[index]) for rank, index in enumerate(self.suspects_, start=1)]
        write_whole(folder / SUSPECTS, csv_table(("rank", "image"), rows))
        return {"suspects": str(folder / SUSPECTS)}

    def tables(self) -> dict[str, NDArray[Any]]:
        """The arrays that the file keeps beside the autoencoder's weights, by name."""
        return dict(self.to_job().tables)

    @classmethod
    def from_job(cls, job: FittedJob, autoencoder: ConvAutoencoder, origin: str) -> Self:
        """A fitted detector from what `to_job` gave, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        scores, choice, calibration, heat_units, settings = from_job(
            job, autoencoder.network_, origin
        )
        detector = cls(autoencoder, **settings)
        detector.autoencoder_ = autoencoder
        detector.scores_, detector.choice_ = scores, choice
        detector.calibration_, detector.heat_units_ = calibration, heat_units
        return detector

    def _check_fitted(self) -> None:
        check_is_fitted(self, "autoencoder_")

    def _held_out(self, groups: Indices) -> tuple[Indices, Indices]:
        """Indices of images to hold out, and the groups of copies that are not parted by it."""
        num_images = len(groups)
        if num_images < FEWEST_IMAGES:
            raise ParameterError(
                f"A detector must have {FEWEST_IMAGES} images, 2 to learn from and 1 to calibrate "
                f"on; received n_samples = {num_images}. Add normal images."
            )
        alone = np.arange(num_images)
        for together in (groups, alone) if groups.any() else (alone,):
            indices = held_out_indices(
                num_images, self.calibration_fraction, self.seed, "calibration_fraction", together
            )
            if num_images - len(indices) >= 2:
                return indices, together
        raise ParameterError(
            f"calibration_fraction must leave at least 2 images to learn from; received "
            f"{self.calibration_fraction} of {num_images} images. Lower it or add images."
        )

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 # scikit-learn's Tags is untyped
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags
