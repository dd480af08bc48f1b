"""What a score means: split-conformal p-values from the scores of normal images never trained on.

Guarantees, for a new normal image that is exchangeable with the calibration images (drawn in the
same way, and neither used to fit the scores, nor copies of them, and no calibration image a copy of
another):

1. The probability that its p-value is at most *r* is at most *r*, for every *r* and any score.
2. Flagging where the p-value is at most *r* raises a false alarm with probability at most *r*.
3. The smallest p-value, and so the smallest rate that can be asked for, is 1 / (*n* + 1) with *n*
   calibration images.

They hold on average over calibration sets. With one given set the rate varies; the larger the set,
the less. Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005;
Bates, Candes, Lei, Romano and Sesia, "Testing for outliers with conformal p-values", Annals of
Statistics 51, 2023.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convae.checks import fraction, real_number
from convae.errors import ParameterError

Floats = NDArray[np.float64]

# 0.29 * 100 is 28.999999999999996.
_ROUNDING = 1e-9
# No set of images is large enough for a smaller one.
_TINY_RATE = 1e-15
MOST_ANOMALIES = 0.25


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of normal images, with which others are compared.

    Args:
        scores: float64 `(num_images,)`, finite, at least one; higher is more normal. They are
            kept in ascending order.

    Raises:
        ParameterError: The scores have another dtype or shape, or are not finite.
    """

    scores: Floats

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores)
        if scores.ndim != 1 or not len(scores) or scores.dtype != np.float64:
            raise ParameterError(
                f"Calibration scores must be float64 of shape (num_images,), at least one; "
                f"received {scores.dtype} of shape {scores.shape}. Pass what score_samples "
                f"returned."
            )
        if not np.isfinite(scores).all():
            raise ParameterError(
                "Calibration scores must be finite; received NaN or infinity. Pass what "
                "score_samples returned."
            )
        object.__setattr__(self, "scores", np.sort(scores))

    @property
    def smallest_rate(self) -> float:
        """The smallest false-alarm rate that so many images can support, in (0, 0.5]."""
        return 1 / (len(self.scores) + 1)

    @staticmethod
    def num_needed(false_alarm_rate: float) -> int:
        """The fewest images that support a rate in (0, 1)."""
        # One over the smallest numbers there are is infinite.
        return math.ceil(1 / max(false_alarm_rate, _TINY_RATE) - _ROUNDING) - 1

    def p_values(self, scores: Floats) -> Floats:
        """How often a normal image scores as low: small is suspicious.

        Args:
            scores: float64 `(num_images,)`; higher is more normal.

        Returns:
            float64 `(num_images,)`, from `smallest_rate` to 1.
        """
        lower = np.searchsorted(self.scores, scores, side="right")
        p_values: Floats = (1 + lower) / (len(self.scores) + 1)
        return p_values

    def threshold(self, false_alarm_rate: float) -> float:
        """The score strictly below which the p-value is at most the rate.

        Raises:
            ParameterError: The rate is outside (0, 1), or smaller than the images can support.
        """
        check_rate(false_alarm_rate)
        rank = math.floor(false_alarm_rate * (len(self.scores) + 1) + _ROUNDING)
        if rank < 1:
            raise ParameterError(
                f"A false-alarm rate of {false_alarm_rate:g} needs at least "
                f"{self.num_needed(false_alarm_rate):,} calibration images; received "
                f"{len(self.scores):,}, which support {self.smallest_rate:.3g} or more. Ask for "
                f"a larger rate, or calibrate on more normal images."
            )
        return float(self.scores[rank - 1])


def check_rate(false_alarm_rate: object) -> None:
    """Refuse an invalid rate of false alarms.

    Raises:
        ParameterError: It is not a number above 0 and below 1.
    """
    fraction(false_alarm_rate, "false_alarm_rate", 0, 1, open_low=True)


def check_most_anomalies(share: object) -> float:
    """The share of images that may be anomalies.

    Raises:
        ParameterError: It is not a number from 0 to 0.25.
    """
    number = real_number(share, "most_anomalies")
    if not 0 <= number <= MOST_ANOMALIES:
        raise ParameterError(
            f"most_anomalies must be from 0 to {MOST_ANOMALIES}; received {share}. Lower it: with "
            f"more anomalies, none can be called normal."
        )
    return number
