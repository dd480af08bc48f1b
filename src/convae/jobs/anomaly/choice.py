"""The chosen score: how deviations make it up, and why it was chosen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convae.jobs.anomaly.scores import SCORES

Deviations = NDArray[np.float64]

# Spearman's, of a score with the strength of the edges in an image.
STRONG_CORRELATION = 0.8


@dataclass(frozen=True)
class Choice:
    """The score that was chosen, and why.

    Args:
        score: A key of `convae.jobs.anomaly.scores.SCORES`.
        reason: A sentence.
        aurocs: Area under the ROC curve on made-up anomalies, the mean over their kinds, by score;
            empty if there were too few images to judge any.
        cheap_aurocs: The same of methods without a network.
        correlation: Spearman's, of the score with the strength of the edges in an image.
        centers: The mean of each deviation of the score, on normal images.
        scales: The standard deviation of each.
    """

    score: str
    reason: str
    aurocs: dict[str, float]
    cheap_aurocs: dict[str, float]
    correlation: float
    centers: dict[str, float]
    scales: dict[str, float]

    def combine(self, deviations: dict[str, Deviations]) -> Deviations:
        """One number an image, minus its largest standardized deviation: higher is more normal."""
        return combine(self.score, deviations, self.centers, self.scales)

    def warnings(self) -> list[str]:
        """What a user should know before trusting the score; usually empty."""
        found = []
        for name, auroc in self.cheap_aurocs.items():
            if auroc >= self.aurocs[self.score]:
                found.append(
                    f"On made-up anomalies, {name} ({auroc:.3f}) does as well as the score "
                    f"{self.score!r} ({self.aurocs[self.score]:.3f}), without a network."
                )
        if abs(self.correlation) > STRONG_CORRELATION:
            found.append(
                f"The score mostly measures the amount of detail in an image: its rank correlation "
                f"with the strength of the edges is {self.correlation:.2f}."
            )
        return found


def combine(
    score: str,
    deviations: dict[str, Deviations],
    centers: dict[str, float],
    scales: dict[str, float],
) -> Deviations:
    """Minus the largest of a score's deviations, each standardized: higher is more normal."""
    parts = [(deviations[name] - centers[name]) / scales[name] for name in SCORES[score]]
    combined: Deviations = -np.max(parts, axis=0)
    return combined
