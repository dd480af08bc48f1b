"""What an image costs, and what memory a training takes, as the images grow to a million.

    python benchmarks/scaling.py            # about half an hour on 2 cores; 1 GB of disk
    python benchmarks/scaling.py --quick    # thousands of images; writes no result

Each measurement is a process of its own, on Linux. First, so many images of 28 x 28 are streamed
into a file (`convae.images.store_images`) and the default network trains on that file for an epoch.
They are varied digits of scikit-learn, made a few at a time from a seed; making them is not
counted. Nor is compiling, which takes memory too and is needed once for each number of steps: a
first process does that and keeps the results. The cost of an image is what a fit takes beyond one
of 1,024 images, divided by the images beyond those. A small fit is easily disturbed, so 10 thousand
images are measured five times, 100 thousand three times, and the medians count.

`peak_anonymous_mb` is the most of RssAnon, sampled every 20 ms: memory that the program asked for
and that nobody can take back. `peak_resident_mb` is VmHWM, which counts the pages of the mapped
file too; the system takes those back whenever it needs them.

Second, MNIST is written to a Parquet file as PNG, and reading it and training for 3 epochs is
measured against the same from mnist.npz, both into memory, in pairs.
`parquet_over_memory_seconds` is the median ratio of their seconds.
"""

import argparse
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image
from results import print_table, write_result

from convae import ConvAutoencoder, RunOptions, load_dataset
from convae.architecture.history import EpochRecord
from convae.architecture.run import Observer
from convae.images import store_images
from convae.nn.statistics import MOST_IMAGES

SEED = 0
EPOCHS = 3
REPEATS = {10_000: 5, 100_000: 3, 1_000_000: 1}
QUICK_REPEATS = {2_000: 1, 4_016: 1}
QUICK_SIZE = 512
MADE_AT_A_TIME = 4096
FEW = 1024
BATCH_SIZE = 32
LARGEST_SHIFT = 3
NOISE = 8.0
SAMPLE_INTERVAL_S = 0.02

Row = dict[str, Any]


def varied_digits(count: int) -> Iterator[NDArray[np.uint8]]:
    """So many digits, shifted, faded and made noisy, in parts of uint8 (num_images, 28, 28, 1)."""
    digits = load_dataset("digits").train[..., 0]
    for start in range(0, count, MADE_AT_A_TIME):
        random = np.random.default_rng([SEED, start])
        length = min(MADE_AT_A_TIME, count - start)
        chosen = random.integers(len(digits), size=length)
        # The margin of a digit is wider than the shift, so what wraps round is black.
        down, right = random.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (2, length, 1))
        rows, columns = (np.arange(28) - down) % 28, (np.arange(28) - right) % 28
        shifted = digits[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        faded = shifted * random.uniform(0.5, 1, (length, 1, 1)).astype(np.float32)
        faded += NOISE * random.standard_normal(faded.shape, np.float32)
        yield np.clip(np.rint(faded), 0, 255).astype(np.uint8)[..., np.newaxis]


def memory_mb(name: str) -> float:
    """A figure of /proc/self/status, in MB of 10^6 bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"/proc/self/status must tell {name}; run this on Linux.")
    return int(found[1]) * 1024 / 1e6


@contextlib.contextmanager
def peak_of(name: str) -> Iterator[list[float]]:
    """The most that a figure of memory reaches within the block, in MB; a list of one."""
    peak = [memory_mb(name)]
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(SAMPLE_INTERVAL_S):
            peak[0] = max(peak[0], memory_mb(name))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield peak
    finished.set()
    watcher.join()


class Compiled(Exception):
    """The first steps are done."""


class FirstSteps:
    """Ends a training after its first steps, when all is compiled."""

    def start(self, num_epochs: int, num_steps: int) -> None:
        """Nothing is compiled yet."""

    def step(self, epoch: int, step: int, loss: float) -> None:  # noqa: ARG002 # an Observer's
        """Steps are done."""
        raise Compiled

    def epoch(self, record: EpochRecord) -> None:
        """Not reached."""

    def stop(self) -> None:
        """The training has ended."""


def fit(images: NDArray[Any], epochs: int, observers: Sequence[Observer] = ()) -> float:
    """Seconds that training the default network takes."""
    started = time.perf_counter()
    model = ConvAutoencoder(epochs=epochs, batch_size=BATCH_SIZE, seed=SEED)
    model.fit(images, run=RunOptions(observers=observers))
    return time.perf_counter() - started


def num_few(count: int) -> int:
    """Images of the fit beside which one of `count` is measured; their last batches are alike."""
    return FEW + count % BATCH_SIZE


def compile_stream(folder: Path, count: int) -> Row:
    """Compile what so many images need, so that no measurement does: it takes time, and memory."""
    shape = (count, 28, 28, 1)
    black = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    # A last batch that is not full is compiled too, when it comes.
    with contextlib.suppress(Compiled):
        fit(black, 1, [] if count % BATCH_SIZE else [FirstSteps()])
    # What follows the steps is the same for so many images and for all.
    for enough in (num_few(count), MOST_IMAGES):
        fit(black[:enough], 1)
    return {"images": count}


def compile_source(name: str, count: int) -> Row:
    """The same for the images of a source."""
    fit(load_dataset(name).train[:count], EPOCHS)
    return {"from": name}


def measure_stream(folder: Path, count: int) -> Row:
    """Store so many images and train on them; the costs of one, and the peaks of memory."""
    making_s = 0.0

    def parts() -> Iterator[NDArray[np.uint8]]:
        nonlocal making_s
        started = time.perf_counter()
        for part in varied_digits(count):
            making_s += time.perf_counter() - started
            yield part
            started = time.perf_counter()

    with peak_of("RssAnon") as peak:
        started = time.perf_counter()
        images = store_images(parts(), folder / "images.npy")
        store_s = time.perf_counter() - started - making_s
        few = num_few(count)
        fit(images[:few], 1)  # what a process does but once
        few_s, all_s = fit(images[:few], 1), fit(images, 1)
    return {
        "images": count,
        "store_us_an_image": 1e6 * store_s / count,
        "train_us_an_image": 1e6 * (all_s - few_s) / (count - few),
        "peak_anonymous_mb": peak[0],
        "peak_resident_mb": memory_mb("VmHWM"),
    }


def measure_source(name: str, count: int) -> Row:
    """Load so many images and train on them."""
    started = time.perf_counter()
    images = load_dataset(name).train[:count]
    load_s = time.perf_counter() - started
    return {
        "from": "memory" if name == "mnist" else "parquet",
        "load_s": load_s,
        "fit_s": fit(images, EPOCHS),
    }


def in_a_process(folder: Path, *arguments: object) -> Row:
    """Call a function above in a process of its own; what JAX compiles is kept in `folder`."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    row: Row = json.loads(done.stdout)
    print(row, flush=True)
    return row


def write_parquet(path: Path, images: NDArray[np.uint8]) -> None:
    """Gray images as PNG in a column, as data set hubs store them."""

    def png(image: NDArray[np.uint8]) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image[..., 0]).save(stream, "PNG")
        return stream.getvalue()

    cells = [{"bytes": png(image), "path": f"{index}.png"} for index, image in enumerate(images)]
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), path, row_group_size=1000)


def medians(rows: list[Row]) -> list[Row]:
    """One row for each number of images."""
    counts = sorted({row["images"] for row in rows})
    same = [[row for row in rows if row["images"] == count] for count in counts]
    return [{name: statistics.median(row[name] for row in few) for name in few[0]} for few in same]


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, path, count = arguments.measure
        measure: Callable[[], Row] = {
            "compile stream": lambda: compile_stream(Path(path), int(count)),
            "stream": lambda: measure_stream(Path(path), int(count)),
            "compile source": lambda: compile_source(path, int(count)),
            "source": lambda: measure_source(path, int(count)),
        }[what]
        print(json.dumps(measure()))
        return

    quick = arguments.quick
    streams: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mnist = load_dataset("mnist").train[: QUICK_SIZE if quick else None]
        parquet = folder / "mnist.parquet"
        write_parquet(parquet, mnist)
        in_a_process(folder, "compile source", "mnist", len(mnist))
        for count, repeats in (QUICK_REPEATS if quick else REPEATS).items():
            in_a_process(folder, "compile stream", folder, count)
            streams += [in_a_process(folder, "stream", folder, count) for _ in range(repeats)]
        pairs = [
            [in_a_process(folder, "source", data, len(mnist)) for data in (parquet, "mnist")]
            for _ in range(1 if quick else 3)
        ]
    rows = medians(streams)
    print_table(rows)
    print_table([row for pair in pairs for row in pair])
    first, last = rows[0], rows[-1]
    costs = [row["store_us_an_image"] + row["train_us_an_image"] for row in (first, last)]
    seconds = [[row["load_s"] + row["fit_s"] for row in pair] for pair in pairs]
    headline = {
        "cost_ratio_1m_vs_10k": costs[1] / costs[0],
        "memory_ratio_1m_vs_10k": last["peak_anonymous_mb"] / first["peak_anonymous_mb"],
        "parquet_over_memory_seconds": statistics.median(a / b for a, b in seconds),
    }
    print(f"{last['images']:,} against {first['images']:,} images: an image costs ", end="")
    print(f"{headline['cost_ratio_1m_vs_10k']:.2f} times as much, the peak of anonymous memory is ")
    print(f"{headline['memory_ratio_1m_vs_10k']:.2f} times as high; ", end="")
    print(f"Parquet takes {headline['parquet_over_memory_seconds']:.2f} times as long as memory")
    if not quick:
        write_result(
            "scaling", headline, [*streams, *(row for pair in pairs for row in pair)], [SEED]
        )


if __name__ == "__main__":
    main()
