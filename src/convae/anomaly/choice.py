"""Choose a score on normal images alone: which one tells them from made-up anomalies.

The cheap methods that need no network are judged on the same anomalies, so that a user learns when
one of them would have done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from convae.anomaly.corruptions import corruptions
from convae.anomaly.scores import SCORES, AnomalyScores
from convae.components import component_errors, fit_components
from convae.images import to_float
from convae.split import drawn_indices

Floats = NDArray[np.float32]
Deviations = NDArray[np.float64]

FEWEST_IMAGES = 20
MOST_IMAGES = 300
MOST_CHEAP_IMAGES = 2_000
DEFAULT_SCORE = "neighbours"
# An advantage below this is chance: the score that is the default keeps its place.
LEAST_ADVANTAGE = 0.01
# Of Spearman's, between a score and how much there is to see in an image.
STRONG_CORRELATION = 0.8
BLUR = 1.0
CHEAP_NEIGHBOURS = 3
NUM_COMPONENTS = 16
NEIGHBOURS, COMPONENTS = "blurred pixels, nearest neighbours", "error of PCA"


@dataclass(frozen=True)
class Choice:
    """The score that was chosen, and why.

    Args:
        score: A key of `convae.anomaly.scores.SCORES`.
        reason: A sentence.
        aurocs: Area under the ROC curve on made-up anomalies, the mean over their kinds, by score;
            empty where there were too few images to judge any.
        cheap_aurocs: The same of methods without a network.
        correlation: Spearman's, of the score with how much there is to see in an image.
        centres: The mean of each deviation of the score, on normal images.
        scales: The standard deviation of each.
    """

    score: str
    reason: str
    aurocs: dict[str, float]
    cheap_aurocs: dict[str, float]
    correlation: float
    centres: dict[str, float]
    scales: dict[str, float]

    def combine(self, deviations: dict[str, Deviations]) -> Deviations:
        """One number an image from its deviations: higher is more normal."""
        return _combine(self.score, deviations, self.centres, self.scales)

    def warnings(self) -> list[str]:
        """What a user should know before trusting the score; mostly nothing."""
        found = []
        for name, auroc in self.cheap_aurocs.items():
            if auroc >= self.aurocs[self.score]:
                found.append(
                    f"On made-up anomalies, {name} ({auroc:.3f}) does as well as the score "
                    f"{self.score!r} ({self.aurocs[self.score]:.3f}), without a network."
                )
        if abs(self.correlation) > STRONG_CORRELATION:
            found.append(
                f"The score is little more than how much there is to see in an image: its rank "
                f"correlation with the strength of the edges is {self.correlation:.2f}."
            )
        return found


def _combine(
    score: str,
    deviations: dict[str, Deviations],
    centres: dict[str, float],
    scales: dict[str, float],
) -> Deviations:
    parts = [(deviations[name] - centres[name]) / scales[name] for name in SCORES[score]]
    combined: Deviations = -np.mean(parts, axis=0)
    return combined


def default_choice(num_images: int) -> Choice:
    """Where too few images are held out to judge scores on."""
    reason = (
        f"the default, since {num_images} images are too few to judge scores on "
        f"({FEWEST_IMAGES} are needed)"
    )
    parts = SCORES[DEFAULT_SCORE]
    ones = dict.fromkeys(parts, 1.0)
    return Choice(DEFAULT_SCORE, reason, {}, {}, 0.0, dict.fromkeys(parts, 0.0), ones)


def choose_score(
    scores: AnomalyScores, normal: NDArray[Any], train: NDArray[Any], seed: int
) -> Choice:
    """Judge each score on made-up anomalies.

    Args:
        scores: What was learned of the training images.
        normal: Normal images that neither it nor the calibration has; at most 300 are used.
        train: The training images, for the cheap methods; at most 2,000 are used.
        seed: Decides the anomalies.
    """
    if len(normal) < FEWEST_IMAGES:
        return default_choice(len(normal))
    images = to_float(normal[:MOST_IMAGES])
    broken = [changed for _, changed in corruptions(images, seed)]
    names = {name for parts in SCORES.values() for name in parts}
    on_normal = scores.measure(images, names)
    on_broken = [scores.measure(changed, names) for changed in broken]
    centres = {name: float(values.mean()) for name, values in on_normal.items()}
    scales = {name: float(values.std()) or 1.0 for name, values in on_normal.items()}

    def combined(score: str, deviations: dict[str, Deviations]) -> Deviations:
        return _combine(score, deviations, centres, scales)

    aurocs = {
        score: _auroc(-combined(score, on_normal), [-combined(score, found) for found in on_broken])
        for score in SCORES
    }
    best = max(aurocs, key=lambda name: aurocs[name])
    if aurocs[best] < aurocs[DEFAULT_SCORE] + LEAST_ADVANTAGE:
        best = DEFAULT_SCORE
    reason = (
        f"tells {len(images)} held-out normal images from {len(broken)} kinds of made-up anomalies "
        f"with a mean AUROC of {aurocs[best]:.3f}"
    )
    others = [auroc for name, auroc in aurocs.items() if name != best]
    reason += f"; the other scores have {min(others):.3f} to {max(others):.3f}"
    parts = SCORES[best]
    return Choice(
        best,
        reason,
        aurocs,
        {
            name: _auroc(judge(images), [judge(changed) for changed in broken])
            for name, judge in _cheap_methods(train, seed).items()
        },
        _correlation(combined(best, on_normal), images),
        {name: centres[name] for name in parts},
        {name: scales[name] for name in parts},
    )


def _auroc(normal: Deviations, broken: list[Deviations]) -> float:
    labels = np.repeat([0, 1], len(normal))
    kinds = [roc_auc_score(labels, np.concatenate([normal, values])) for values in broken]
    return float(np.mean(kinds))


def _correlation(score: Deviations, images: Floats) -> float:
    edges = np.abs(np.diff(images, axis=1)).mean(axis=(1, 2, 3))
    edges += np.abs(np.diff(images, axis=2)).mean(axis=(1, 2, 3))
    if np.ptp(edges) == 0 or np.ptp(score) == 0:
        return 0.0
    return float(spearmanr(score, edges).statistic)


def _cheap_methods(train: NDArray[Any], seed: int) -> dict[str, Callable[[Floats], Deviations]]:
    """Deviations by methods that need no network, the higher the less normal."""
    kept = to_float(train[drawn_indices(len(train), MOST_CHEAP_IMAGES, seed)])
    pca = fit_components(kept.reshape(len(kept), -1), NUM_COMPONENTS, seed)
    count = min(CHEAP_NEIGHBOURS, len(kept))
    near = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(_blurred(kept))

    def neighbours(images: Floats) -> Deviations:
        distances: Deviations = near.kneighbors(_blurred(images))[0].mean(axis=1)
        return distances

    def components(images: Floats) -> Deviations:
        return component_errors(pca, images.reshape(len(images), -1))

    return {NEIGHBOURS: neighbours, COMPONENTS: components}


def _blurred(images: Floats) -> Floats:
    rows = gaussian_filter(images, (0, BLUR, BLUR, 0)).reshape(len(images), -1)
    blurred: Floats = normalize(rows)
    return blurred
