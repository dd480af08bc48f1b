"""Time of a search for anomalies with 100 overlays and a page, against judging alone, in pairs.

A detector learns from the digit 1 of MNIST and searches the first 1,000 test images, most of which
it flags. Judging gives scores, p-values and heat maps; the search judges, draws the 100 most
suspicious, and writes a table and a page.

python benchmarks/detect.py            # 7 pairs, about a minute
python benchmarks/detect.py --quick    # 2 pairs; writes no result
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from results import print_table, write_result

from convae import AnomalyDetector, ConvAutoencoder, load_dataset, write_detections

DIGIT, NUM_IMAGES, NUM_SHOWN, SEED = 1, 1_000, 100, 0


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pairs; writes no result")
    quick = parser.parse_args().quick
    dataset = load_dataset("mnist")
    normal = dataset.train[dataset.train_labels == DIGIT]
    autoencoder = ConvAutoencoder(epochs=2, seed=SEED)
    detector = AnomalyDetector(autoencoder, seed=SEED).fit(normal)
    judged, names = dataset.judged()
    images, names = judged[:NUM_IMAGES], names[:NUM_IMAGES]
    flagged = int((detector.predict(images) == -1).sum())
    times: dict[str, list[float]] = {"judge": [], "search": []}
    with tempfile.TemporaryDirectory() as folder:
        # The first pair compiles.
        for _ in range(3 if quick else 8):
            times["judge"].append(seconds(lambda: detector.judge(images)))
            times["search"].append(
                seconds(lambda: write_detections(Path(folder), detector, images, names, NUM_SHOWN))
            )
    counted = {name: values[1:] for name, values in times.items()}
    ratios = [
        search / judge for search, judge in zip(counted["search"], counted["judge"], strict=True)
    ]
    rows = [
        {
            "work": name,
            "num_images": NUM_IMAGES,
            "num_flagged": flagged,
            "median_s": statistics.median(values),
            "min_s": min(values),
            "max_s": max(values),
        }
        for name, values in counted.items()
    ]
    print_table(rows)
    print(f"search / judge: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to ", end="")
    print(f"{max(ratios):.2f}")
    if not quick:
        headline = {"search_with_100_overlays_over_judging": statistics.median(ratios)}
        write_result("detect", headline, rows, [SEED])


if __name__ == "__main__":
    main()
