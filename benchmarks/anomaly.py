"""Anomalies of MNIST after normal images alone: AUROC of the detector, and of methods beside it.

    python benchmarks/anomaly.py            # three seeds of the detector; hours on 2 cores
    python benchmarks/anomaly.py --quick    # two digits, few images, one seed; writes no result

Two tasks. `one class`: a digit is normal; all its training images are learned from, and the 10,000
test images are judged. `left out`: nine digits are normal, and the tenth is to be found. The same
settings for every digit, chosen on held-out training images of one class. The state of a method is
what it must keep to judge an image; its time is that of judging one among all test images, on a
machine that other rows may have shared.

Neighbors of pixels or of edges, and PCA, are without a network and not tuned to a digit either.
PyOD's AutoEncoder runs in an environment of its own (`make .venv-pyod/installed`). The detector's
own score is said in `note`. The two other networks are trained once for each digit. Where 54,000
images are normal, each network takes minutes a digit: so of the task `left out`, there is one seed,
and the two other networks have digit 1 alone.

With `--rows FILE` each row is kept in that file too, and none that is there is measured again; with
`--task NAME` as well, only those rows are measured.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.programs import PYOD, Program, peer_python
from results import keep_rows, kept_rows, publish, row_options
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from convae import AnomalyDetector, ConvAutoencoder, load_dataset
from convae.baselines.pca import component_errors, fit_components
from convae.images import to_float
from convae.jobs.anomaly.edges import edge_features

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]
Deviations = NDArray[Any]
Row = dict[str, Any]
# Takes the normal images and a seed; gives a judge (the higher, the less normal), the bytes that it
# keeps, and a note.
Judge = Callable[[Images], Deviations]
Method = Callable[[Images, int], tuple[Judge, int, str]]

SEEDS = [0, 1, 2]
ONE_CLASS, LEFT_OUT = "one class", "left out"
OURS = "AnomalyDetector"
REFERENCE, PYOD_NAME = "reference, reconstruction error", "PyOD's AutoEncoder"
# So long do they take: one seed, and of the task `left out` one digit.
OTHER_NETWORKS, THE_DIGIT = {REFERENCE, PYOD_NAME}, 1
BLUR = 1.0
QUICK_IMAGES = 2_000


def read_mnist(most: int | None) -> tuple[Images, NDArray[Any], Images, NDArray[Any]]:
    """The first images of both splits, each with its labels; None takes all."""
    mnist = load_dataset("mnist")
    if mnist.test is None or mnist.train_labels is None or mnist.test_labels is None:
        raise SystemExit("MNIST must come with its test split and its labels.")
    return (
        mnist.train[:most], mnist.train_labels[:most], mnist.test[:most], mnist.test_labels[:most]
    )  # fmt: skip


def flat(images: Images) -> Floats:
    """Pixels in [0, 1], one image a row."""
    return to_float(images).reshape(len(images), -1)


def blurred(images: Images) -> Floats:
    """Blurred pixels."""
    rows: Floats = gaussian_filter(to_float(images), (0, BLUR, BLUR, 0)).reshape(len(images), -1)
    return rows


def neighbors(features: Callable[[Images], Floats], count: int) -> Method:
    """Mean squared distance to the nearest normal images."""

    def fit(normal: Images, seed: int) -> tuple[Judge, int, str]:  # noqa: ARG001 # a Method's
        kept = features(normal)
        found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(kept)

        def judge(images: Images) -> Deviations:
            parts = np.array_split(images, max(1, len(images) // 2000))
            distances = [found.kneighbors(features(part))[0] for part in parts]
            means: Deviations = np.square(np.concatenate(distances)).mean(axis=1)
            return means

        return judge, kept.nbytes, ""

    return fit


def cosine_neighbors(features: Callable[[Images], Floats]) -> Method:
    """Half of it is the mean cosine distance to the 3 nearest normal images."""
    return neighbors(lambda images: normalize(features(images)), 3)


def pca_error(normal: Images, seed: int) -> tuple[Judge, int, str]:
    """The error of 16 principal components."""
    pca = fit_components(flat(normal), 16, seed)
    num_numbers = pca.components_.size + pca.mean_.size
    return (lambda images: component_errors(pca, flat(images))), 4 * num_numbers, ""


def isolation_forest(normal: Images, seed: int) -> tuple[Judge, int, str]:
    """scikit-learn's, at its defaults, on pixels."""
    forest = IsolationForest(random_state=seed).fit(flat(normal))
    num_nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    return (lambda images: -forest.score_samples(flat(images))), 32 * num_nodes, ""


def reference_error(normal: Images, seed: int) -> tuple[Judge, int, str]:
    """The plain reconstruction error of the teaching example."""
    model = ConvAutoencoder.from_preset("reference", seed=seed).fit(normal)
    return (lambda images: -model.score_samples(images)), 4 * 178_769, ""


def pyod_error(normal: Images, seed: int) -> tuple[Judge, int, str]:
    """PyOD's AutoEncoder at its defaults, in a process that lives as long as the judge."""
    folder = tempfile.TemporaryDirectory()
    place = Path(folder.name)
    np.save(place / "normal.npy", normal)
    command = [peer_python("pyod"), PYOD, "--folder", place, "--seed", seed]
    program = Program("PyOD's AutoEncoder", command)
    _, learned = program.answer()

    def judge(images: Images) -> Deviations:
        np.save(place / "judged.npy", images)
        with folder, program:
            program.ask()
            deviations: Deviations = np.load(place / "deviations.npy")
        return deviations

    return judge, 4 * learned["parameters"], ""


def ours(normal: Images, seed: int) -> tuple[Judge, int, str]:
    """The detector as it comes."""
    detector = AnomalyDetector(ConvAutoencoder(seed=seed), seed=seed).fit(normal)
    contents = [*detector.autoencoder_.weights_.values(), *detector.tables().values()]
    num_bytes = sum(array.nbytes for array in contents)
    return (lambda images: -detector.score_samples(images)), num_bytes, detector.choice_.score


# Name, whether a network takes part, whether another seed gives another result, and the method.
METHODS: dict[str, tuple[bool, bool, Method]] = {
    OURS: (True, True, ours),
    REFERENCE: (True, True, reference_error),
    PYOD_NAME: (True, True, pyod_error),
    "edges, 3 neighbors": (False, False, neighbors(edge_features, 3)),
    "blurred pixels, cosine of 3 neighbors": (False, False, cosine_neighbors(blurred)),
    "pixels, cosine of 3 neighbors": (False, False, cosine_neighbors(flat)),
    "pixels, nearest neighbor": (False, False, neighbors(flat, 1)),
    "error of PCA-16": (False, False, pca_error),
    "Isolation Forest": (False, True, isolation_forest),
}


def taken(task: str, name: str, digit: int, seed: int) -> bool:
    """Whether the table has such a row."""
    first = seed == 0
    if task == LEFT_OUT:
        return first and (name not in OTHER_NETWORKS or digit == THE_DIGIT)
    return first or (METHODS[name][1] and name not in OTHER_NETWORKS)


def measure(
    name: str, seed: int, normal: Images, judged: Images, abnormal: NDArray[np.bool_]
) -> Row:
    """Fit one method and judge with it."""
    started = time.perf_counter()
    judge, num_bytes, note = METHODS[name][2](normal, seed)
    fitted = time.perf_counter()
    deviations = judge(judged)
    return {
        "auroc": float(roc_auc_score(abnormal, deviations)),
        "fit_s": fitted - started,
        "us_an_image": 1e6 * (time.perf_counter() - fitted) / len(judged),
        "state_mb": num_bytes / 1e6,
        "note": note,
    }


def summarize(rows: list[Row]) -> dict[str, float]:
    """The headline: our means over digits and seeds, and the best without a network beside them."""

    def means(task: str, name: str) -> list[float]:
        digits = sorted({row["digit"] for row in rows})
        return [
            statistics.mean(
                row["auroc"]
                for row in rows
                if (row["task"], row["method"], row["digit"]) == (task, name, digit)
            )
            for digit in digits
        ]

    def state_mb(task: str, name: str) -> float:
        sizes = [row["state_mb"] for row in rows if (row["task"], row["method"]) == (task, name)]
        return float(statistics.mean(sizes))

    cheap = [name for name, (network, _, _) in METHODS.items() if not network]
    headline: dict[str, float] = {}
    for task, key in ((ONE_CLASS, "one_class"), (LEFT_OUT, "left_out")):
        ours = means(task, OURS)
        best_mean, best = max((statistics.mean(means(task, name)), name) for name in cheap)
        headline |= {
            f"{key}_mean_auroc": statistics.mean(ours),
            f"{key}_worst_auroc": min(ours),
            f"best_cheap_{key}_mean_auroc": best_mean,
            f"best_cheap_{key}_state_ratio": state_mb(task, best) / state_mb(task, OURS),
        }
    return headline


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    given = row_options(__doc__, "--task", choices=[ONE_CLASS, LEFT_OUT])
    train, train_labels, test, test_labels = read_mnist(QUICK_IMAGES if given.quick else None)
    rows = kept_rows(given.rows)
    done = {(row["task"], row["method"], row["digit"], row["seed"]) for row in rows}
    for task in [given.part] if given.part else [ONE_CLASS, LEFT_OUT]:
        for seed in SEEDS[:1] if given.quick else SEEDS:
            for digit in (3, 8) if given.quick else range(10):
                for name in METHODS:
                    if (task, name, digit, seed) in done or not taken(task, name, digit, seed):
                        continue
                    normal = (train_labels == digit) == (task == ONE_CLASS)
                    abnormal = (test_labels == digit) != (task == ONE_CLASS)
                    row = {"task": task, "method": name, "digit": digit, "seed": seed}
                    row |= measure(name, seed, train[normal], test, abnormal)
                    keep_rows(given.rows, [row])
                    rows.append(row)
                    print(row, flush=True)
    if given.part:
        return
    publish("anomaly", summarize(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
