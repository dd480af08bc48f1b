"""Whether `AnomalyDetector` flags what it promises, and what anomalies among its images cost it.

    python benchmarks/calibration.py            # three seeds; hours on 2 cores
    python benchmarks/calibration.py --quick    # two digits, few images, one seed; writes no result

Each digit of MNIST in turn is normal, and the 10,000 test images are judged.

A detector that learned from the digit's training images alone is asked to flag at several rates of
false alarms; `realised_at_...` are the shares of normal images that it flags. The guarantee is for
images drawn as those it is calibrated on, so these are training images that it was never given: a
tenth of the digit's. MNIST's test images come from other writers; what it flags of those normal
ones is `realised_on_test_at_...`.

Then so many training images of other digits are put among the normal ones that they make up a
twentieth or a tenth, and the detector is told that up to a tenth may be anomalies
(`most_anomalies=0.1`), of which it knows no more. `suspects_found` is the share of the dirt among
as many of the first `suspects_`; the loss of AUROC is against the detector without dirt.

With `--rows FILE` each row is kept in that file too, and none that is there is measured again; with
`--digits` as well, only theirs are measured, so that two processes can share the work.
"""

import statistics
from typing import Any

import numpy as np
from anomaly import QUICK_IMAGES, read_mnist
from numpy.typing import NDArray
from results import keep_rows, kept_rows, publish, row_options
from sklearn.metrics import roc_auc_score

from convae import AnomalyDetector, ConvAutoencoder

Images = NDArray[np.uint8]
Row = dict[str, Any]

SEEDS = [0, 1, 2]
RATES = (0.005, 0.01, 0.05, 0.1)
DIRT = (0.0, 0.05, 0.1)
MOST_ANOMALIES = 0.1
# Of a digit's training images, kept from the detector to be judged beside the test images.
KEPT_SHARE = 0.1


def with_dirt(normal: Images, others: Images, share: float, seed: int) -> tuple[Images, Any]:
    """Normal images with others among them, in random order, and which of them are the others."""
    count = round(share / (1 - share) * len(normal))
    random = np.random.default_rng(seed)
    images = np.concatenate([normal, others[random.choice(len(others), count, replace=False)]])
    order = random.permutation(len(images))
    return images[order], order >= len(normal)


def measure(
    normal: Images,
    others: Images,
    test: Images,
    abnormal: NDArray[np.bool_],
    share: float,
    seed: int,
) -> Row:
    """Learn and judge once."""
    kept = np.random.default_rng(seed).permutation(len(normal)) < KEPT_SHARE * len(normal)
    images, is_dirt = with_dirt(normal[~kept], others, share, seed)
    detector = AnomalyDetector(
        ConvAutoencoder(seed=seed), most_anomalies=MOST_ANOMALIES if share else 0.0, seed=seed
    ).fit(images)
    scores = detector.score_samples(test)
    suspects = detector.suspects_[: is_dirt.sum()]
    row = {
        "auroc": float(roc_auc_score(abnormal, -scores)),
        "suspects_found": float(is_dirt[suspects].mean()) if share else None,
        "calibration_images": len(detector.calibration_.scores),
    }
    judged = {"kept": detector.score_samples(normal[kept]), "test": scores[~abnormal]}
    for name, values in judged.items():
        row[f"{name}_images"] = len(values)
        p_values = detector.calibration_.p_values(values)
        for rate in RATES:
            row[f"{name}_flagged_at_{rate:g}"] = int((p_values <= rate).sum())
    return row


def summarize(rows: list[Row]) -> dict[str, float]:
    """The headline: shares over all digits and seeds, and means of what dirt does."""
    clean = [row for row in rows if not row["dirt"]]

    def realized(name: str, rate: float) -> float:
        flagged = sum(row[f"{name}_flagged_at_{rate:g}"] for row in clean)
        return float(flagged / sum(row[f"{name}_images"] for row in clean))

    found: dict[str, float] = {}
    for prefix, name in (("realised", "kept"), ("realised_on_test", "test")):
        for rate in RATES:
            found[f"{prefix}_at_{100 * rate:g}pct".replace(".", "_")] = realized(name, rate)
    without = statistics.mean(row["auroc"] for row in clean)
    for share in DIRT[1:]:
        dirty = [row for row in rows if row["dirt"] == share]
        name = f"{100 * share:g}pct_dirt"
        found[f"auroc_loss_at_{name}"] = without - statistics.mean(row["auroc"] for row in dirty)
        found[f"suspects_found_at_{name}"] = statistics.mean(row["suspects_found"] for row in dirty)
    found["suspects_found"] = found[f"suspects_found_at_{100 * DIRT[-1]:g}pct_dirt"]
    return found


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    given = row_options(__doc__, "--digits", type=int, nargs="+", metavar="DIGIT")
    train, train_labels, test, test_labels = read_mnist(QUICK_IMAGES if given.quick else None)
    rows = kept_rows(given.rows)
    done = {(row["digit"], row["seed"], row["dirt"]) for row in rows}
    for seed in SEEDS[:1] if given.quick else SEEDS:
        for digit in given.part or ((3, 8) if given.quick else range(10)):
            normal, others = train[train_labels == digit], train[train_labels != digit]
            for share in DIRT:
                if (digit, seed, share) in done:
                    continue
                row = {"digit": digit, "seed": seed, "dirt": share}
                row |= measure(normal, others, test, test_labels != digit, share, seed)
                keep_rows(given.rows, [row])
                rows.append(row)
                print(row, flush=True)
    if given.part:
        return
    publish("calibration", summarize(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
