"""Choose a score with normal images only: the one that best tells them from made-up anomalies.

The cheap methods that need no network are judged on the same anomalies, so that a user learns when
one of them would be enough.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from convae.baselines.pca import component_errors, fit_components
from convae.images import to_float
from convae.images.selection import Images, Indices, Selection, drawn_indices
from convae.jobs.anomaly.choice import Choice, combine
from convae.jobs.anomaly.corruptions import corruptions
from convae.jobs.anomaly.learn import fit_spaces
from convae.jobs.anomaly.scores import SCORES, AnomalyScores, scores_for

Floats = NDArray[np.float32]
Deviations = NDArray[np.float64]

FEWEST_IMAGES = 20
MOST_IMAGES = 300
MOST_CHEAP_IMAGES = 2_000
NUM_FOLDS = 5
# A smaller advantage is chance, and the default score is kept.
LEAST_ADVANTAGE = 0.01
BLUR = 1.0
CHEAP_NEIGHBORS = 3
NUM_COMPONENTS = 16
NEIGHBORS, COMPONENTS = "blurred pixels, nearest neighbors", "error of PCA"


def default_score(channels: int) -> str:
    """The default score for a number of channels, which others must beat."""
    return "neighbors" if channels == 1 else "neighbors and colors"


def default_choice(
    scores: AnomalyScores, num_held_out: int, train: Selection, groups: Indices, seed: int
) -> Choice:
    """The choice if too few images are held out to judge scores.

    Args:
        scores: What was learned of the training images.
        num_held_out: How many images are held out.
        train: The training images, 2 or more; parts of them are measured against the others.
        groups: Equal for those of them that are copies, `(num_images,)`.
        seed: As in `convae.jobs.anomaly.learn.fit_scores`.
    """
    score = default_score(train.shape[3])
    reason = (
        f"the default, since {num_held_out} images are too few to judge scores on "
        f"({FEWEST_IMAGES} are needed)"
    )
    folds = np.unique(groups, return_inverse=True)[1] % NUM_FOLDS
    measured = [
        replace(scores, neighbors=fit_spaces(train.take(folds != fold), seed)).measure(
            train.take(folds == fold), SCORES[score]
        )
        for fold in range(folds.max() + 1)
        if (folds != fold).sum() > 1
    ]
    if not measured:  # of two images, neither has others, and no more has an image its copies
        measured = [dict.fromkeys(SCORES[score], np.zeros(1))]
    values = {name: np.concatenate([part[name] for part in measured]) for name in SCORES[score]}
    return Choice(score, reason, {}, {}, 0.0, *_centers_and_scales(values))


def _centers_and_scales(
    deviations: dict[str, Deviations],
) -> tuple[dict[str, float], dict[str, float]]:
    centers = {name: float(values.mean()) for name, values in deviations.items()}
    return centers, {name: float(values.std()) or 1.0 for name, values in deviations.items()}


def choose_score(
    scores: AnomalyScores,
    normal: Images,
    train: Selection,
    seed: int,
    *,
    groups: Indices,
    with_network: bool = True,
) -> Choice:
    """Judge each score on made-up anomalies.

    Args:
        scores: What was learned of the training images.
        normal: Normal images that are used for neither training nor calibration; at most 300 are
            used.
        train: The training images, for the cheap methods; at most 2,000 are used.
        seed: Decides the anomalies.
        groups: Equal for training images that are copies, `(num_images,)`.
        with_network: Whether scores that need the network may be chosen; not if it was trained on
            the calibration images.
    """
    if len(normal) < FEWEST_IMAGES:
        return default_choice(scores, len(normal), train, groups, seed)
    images = to_float(normal[:MOST_IMAGES])
    broken = [changed for _, changed in corruptions(images, seed)]
    candidates = scores_for(images.shape[3], with_network=with_network)
    names = {name for score in candidates for name in SCORES[score]}
    on_normal = scores.measure(images, names)
    on_broken = [scores.measure(changed, names) for changed in broken]
    centers, scales = _centers_and_scales(on_normal)

    def combined(score: str, deviations: dict[str, Deviations]) -> Deviations:
        return combine(score, deviations, centers, scales)

    aurocs = {
        score: _auroc(-combined(score, on_normal), [-combined(score, found) for found in on_broken])
        for score in candidates
    }
    best = max(aurocs, key=lambda name: aurocs[name])
    default = default_score(images.shape[3])
    if aurocs[best] < aurocs[default] + LEAST_ADVANTAGE:
        best = default
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
        {name: centers[name] for name in parts},
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


def _cheap_methods(train: Images, seed: int) -> dict[str, Callable[[Floats], Deviations]]:
    """Deviations by methods that need no network, the higher the less normal."""
    kept = to_float(train[drawn_indices(len(train), MOST_CHEAP_IMAGES, seed)])
    pca = fit_components(kept.reshape(len(kept), -1), NUM_COMPONENTS, seed)
    count = min(CHEAP_NEIGHBORS, len(kept))
    near = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(_blurred(kept))

    def neighbors(images: Floats) -> Deviations:
        distances: Deviations = near.kneighbors(_blurred(images))[0].mean(axis=1)
        return distances

    def components(images: Floats) -> Deviations:
        return component_errors(pca, images.reshape(len(images), -1))

    return {NEIGHBORS: neighbors, COMPONENTS: components}


def _blurred(images: Floats) -> Floats:
    rows = gaussian_filter(images, (0, BLUR, BLUR, 0)).reshape(len(images), -1)
    blurred: Floats = normalize(rows)
    return blurred
