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

A set with copies in it must not change that rate. In each of ten splits, 2,000 of the training
threes are learned from together with copies: each image twice, each with a near-copy (moved by a
pixel, saved as a JPEG of quality 75, or with noise of 2 % of the range), or a fifth of them twice.
The other 4,131 threes are fresh and are judged; `realised_at_1pct_doubled` and the like are the
shares flagged. The network is of one stage of 4 filters and is trained for one epoch, since only
the rate is measured.

With `--rows FILE` each row is kept in that file too, and none that is there is measured again; with
`--part` as well, only some digits or the copies are measured, so that processes can share the work.
"""

import io
import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from anomaly import QUICK_IMAGES, read_mnist
from numpy.typing import NDArray
from PIL import Image
from results import keep_rows, kept_rows, print_table, row_options, write_result
from sklearn.metrics import roc_auc_score

from convae import AnomalyDetector, ConvAutoencoder

Images = NDArray[np.uint8]
Row = dict[str, Any]
Key = tuple[Any, ...]

SEEDS = [0, 1, 2]
RATES = (0.005, 0.01, 0.05, 0.1)
DIRT = (0.0, 0.05, 0.1)
MOST_ANOMALIES = 0.1
# Of a digit's training images, kept from the detector to be judged beside the test images.
KEPT_SHARE = 0.1
COPIED = {"doubled": 1.0, "near_copies": 1.0, "fifth_doubled": 0.2}
COPIED_DIGIT, COPIED_IMAGES, COPIED_SEEDS = 3, 2_000, list(range(10))
JPEG_QUALITY, NOISE = 75, 0.02 * 255


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


def near_copies(images: Images, seed: int) -> Images:
    """Each image moved by a pixel, saved as a JPEG, or with noise, in turn."""
    found = images.copy()
    found[::3, :, 1:] = images[::3, :, :-1]
    for place in range(1, len(images), 3):
        file = io.BytesIO()
        Image.fromarray(images[place].squeeze()).save(file, "JPEG", quality=JPEG_QUALITY)
        found[place] = np.asarray(Image.open(file)).reshape(images[place].shape)
    noise = np.random.default_rng(seed).normal(0, NOISE, images[2::3].shape)
    found[2::3] = np.clip(np.rint(images[2::3] + noise), 0, 255).astype(np.uint8)
    return found


def measure_copies(normal: Images, kind: str, num_images: int, seed: int) -> Row:
    """Learn from images and copies of them, and judge the others."""
    order = np.random.default_rng(seed).permutation(len(normal))
    learned, fresh = normal[order[:num_images]], normal[order[num_images:]]
    copied = learned[: round(COPIED[kind] * num_images)]
    copies = near_copies(copied, seed) if kind == "near_copies" else copied
    images = np.random.default_rng(seed).permutation(np.concatenate([learned, copies]))
    small = ConvAutoencoder(filters=(4,), latent_dim=4, epochs=1, seed=seed)
    detector = AnomalyDetector(small, seed=seed).fit(images)
    p_values = detector.p_values(fresh)
    row = {
        "learned_images": num_images,
        "copies_made": len(copies),
        "copies_found": detector.num_copies_,
        "calibration_images": len(detector.calibration_.scores),
        "fresh_images": len(fresh),
    }
    return row | {f"fresh_flagged_at_{rate:g}": int((p_values <= rate).sum()) for rate in RATES}


def summarize_copies(rows: list[Row]) -> dict[str, float]:
    """The headline of the copies: shares over all splits."""
    found = {}
    for kind in COPIED:
        some = [row for row in rows if row["copies"] == kind]
        for rate in RATES:
            name = f"realised_at_{100 * rate:g}pct_{kind}".replace(".", "_")
            flagged = sum(row[f"fresh_flagged_at_{rate:g}"] for row in some)
            found[name] = flagged / sum(row["fresh_images"] for row in some)
    return found


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


def digit_rows(
    data: tuple[Any, ...], digits: Sequence[int], seeds: Sequence[int], done: set[Key]
) -> Iterator[Row]:
    """The rows of some digits, with and without dirt, but for those that are done."""
    train, train_labels, test, test_labels = data
    for seed, digit, share in itertools.product(seeds, digits, DIRT):
        if (digit, seed, share, None) not in done:
            normal, others = train[train_labels == digit], train[train_labels != digit]
            row = measure(normal, others, test, test_labels != digit, share, seed)
            yield {"digit": digit, "seed": seed, "dirt": share, **row}


def copy_rows(normal: Images, seeds: Sequence[int], done: set[Key]) -> Iterator[Row]:
    """The rows of sets with copies, but for those that are done."""
    num_images = min(COPIED_IMAGES, len(normal) // 2)
    for seed, kind in itertools.product(seeds, COPIED):
        if (COPIED_DIGIT, seed, None, kind) not in done:
            row = measure_copies(normal, kind, num_images, seed)
            yield {"digit": COPIED_DIGIT, "seed": seed, "copies": kind, **row}


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    parts = [*map(str, range(10)), "copies"]
    given = row_options(__doc__, "--part", nargs="+", choices=parts)
    data = read_mnist(QUICK_IMAGES if given.quick else None)
    rows = kept_rows(given.rows)
    done = {tuple(row.get(name) for name in ("digit", "seed", "dirt", "copies")) for row in rows}
    wanted = given.part or (["3", "8", "copies"] if given.quick else parts)
    digits = [int(part) for part in wanted if part != "copies"]
    found = digit_rows(data, digits, SEEDS[:1] if given.quick else SEEDS, done)
    if "copies" in wanted:
        seeds = COPIED_SEEDS[:1] if given.quick else COPIED_SEEDS
        found = itertools.chain(found, copy_rows(data[0][data[1] == COPIED_DIGIT], seeds, done))
    for row in found:
        keep_rows(given.rows, [row])
        rows.append(row)
        print(row, flush=True)
    if given.part:
        return
    dirty, copied = ([row for row in rows if name in row] for name in ("dirt", "copies"))
    headline = summarize(dirty) | summarize_copies(copied)
    for table in (dirty, copied, [headline]):
        print_table(table)
    if not given.quick:
        write_result("calibration", headline, dirty + copied, COPIED_SEEDS)


if __name__ == "__main__":
    main()
