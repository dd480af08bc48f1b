"""Seconds from a cold start to a model as good as the reference: ours against stock Keras.

    python benchmarks/time_to_quality.py            # 3 of ours, 1 of Keras; 15 minutes on 2 cores
    python benchmarks/time_to_quality.py --quick    # few images, 2 epochs; writes no result

The bar is the test MSE of `reference`, as benchmarks/results/reference.json has it, to 4 digits.
Each training is a process of its own, and its seconds are those of that process from its start:
imports, reading MNIST, compiling (nothing compiled is kept from before) and training; evaluating is
not counted. Ours is `fast` as it is; its model must be at or below the bar.

The peer is the script in benchmarks/peers/keras_script.py, 20 epochs of Adam. It is evaluated on
the test images after each epoch, with its clock stopped, and `seconds_reference` is its time to the
first epoch at which it met the bar after rounding to 4 digits, which it could not have known; or
of all its epochs, should it never have. The kinder figure is the one in the headline.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peers.programs import (
    KERAS_SCRIPT,
    ON_JAX,
    ON_TENSORFLOW,
    Program,
    ours,
    peer_python,
    write_mnist,
)
from results import FOLDER, print_table, write_result

PRESET = "fast"
OURS, KERAS = f"convae {PRESET}", "keras on tensorflow"
EPOCHS = 20
DIGITS = 4
QUICK_EPOCHS = 2
QUICK_COUNT = 3_200


@dataclass(frozen=True)
class Training:
    """One training, from the start of its process.

    Args:
        method: Who trained.
        seed: Its seed.
        epochs: How many it took.
        seconds: Until it was done.
        test_mse: Of the model at the end.
        epochs_to_bar: The first epoch at which the test MSE met the bar, where that is known.
        seconds_to_bar: Until then.
    """

    method: str
    seed: int
    epochs: int
    seconds: float
    test_mse: float
    epochs_to_bar: int | None
    seconds_to_bar: float | None

    @property
    def kinder_seconds(self) -> float:
        """Until the bar was met, or, if it never was, until the end."""
        return self.seconds if self.seconds_to_bar is None else self.seconds_to_bar


def reference_test_mse() -> float:
    """The bar: the test MSE of `reference`, rounded."""
    document = json.loads((FOLDER / "reference.json").read_text(encoding="utf-8"))
    return round(float(document["headline"]["test_mse"]), DIGITS)


def train_ours(seed: int, epochs: int | None, count: int | None, bar: float) -> Training:
    """One training of ours; None leaves epochs and images as they are."""
    options = ["--preset", PRESET, "--seed", seed, "--evaluate"]
    if epochs is not None:
        options += ["--epochs", epochs]
    if count is not None:
        options += ["--count", count]
    with Program(OURS, ours(*options), ON_JAX) as program:
        seconds, trained = program.answer()
        test_mse = program.answer()[1]["test_mse"]
    num_epochs, met = trained["epochs"], test_mse <= bar
    return Training(
        OURS,
        seed,
        num_epochs,
        seconds,
        test_mse,
        num_epochs if met else None,
        seconds if met else None,
    )


def train_theirs(images: Path, seed: int, epochs: int, count: int | None, bar: float) -> Training:
    """One training of the Keras script."""
    options = ["--images", images, "--epochs", epochs, "--seed", seed, "--evaluate"]
    if count is not None:
        options += ["--count", count]
    met: tuple[int, float] | tuple[None, None] = (None, None)
    command = [peer_python("tensorflow"), KERAS_SCRIPT, *options]
    with Program(KERAS, command, ON_TENSORFLOW) as program:
        for epoch in range(1, epochs + 1):
            elapsed_s, answer = program.answer()
            seconds = elapsed_s - answer["evaluation_s"]
            if met[0] is None and round(answer["test_mse"], DIGITS) <= bar:
                met = (epoch, seconds)
    return Training(KERAS, seed, epochs, seconds, answer["test_mse"], *met)


def in_turn(num_ours: int, num_theirs: int) -> list[tuple[bool, int]]:
    """Who trains with which seed, in an order that spreads the fewer among the more."""
    trainings = [(True, seed) for seed in range(num_ours)]
    trainings += [(False, seed) for seed in range(num_theirs)]

    def place(training: tuple[bool, int]) -> float:
        is_ours, seed = training
        return (seed + 0.5) / (num_ours if is_ours else num_theirs)

    return sorted(trainings, key=place)


def read_libraries_once() -> None:
    """Have the libraries in the disk's cache, so that nobody's first training pays for the disk."""
    for python, modules, environment in (
        (sys.executable, "jax, keras, sklearn", ON_JAX),
        (peer_python("tensorflow"), "tensorflow, keras", ON_TENSORFLOW),
    ):
        command = [python, "-c", f"import {modules}"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})


def summarize(trainings: Sequence[Training]) -> dict[str, float]:
    """The headline; the ratio is above 1 where ours is faster.

    Raises:
        SystemExit: A training of ours missed the bar.
    """
    mine = [training for training in trainings if training.method == OURS]
    theirs = [training for training in trainings if training.method == KERAS]
    missed = [training for training in mine if training.seconds_to_bar is None]
    if missed:
        raise SystemExit(
            f"A time to the bar needs trainings that meet it; seed {missed[0].seed} of {OURS} had "
            f"a test MSE of {missed[0].test_mse:.5f}. No result is written: better the preset."
        )
    seconds_ours = statistics.median(training.seconds for training in mine)
    seconds_reference = statistics.median(training.kinder_seconds for training in theirs)
    return {
        "vs_keras_tensorflow": seconds_reference / seconds_ours,
        "seconds_ours": seconds_ours,
        "seconds_ours_max": max(training.seconds for training in mine),
        "seconds_reference": seconds_reference,
        "seconds_reference_all_epochs": statistics.median(training.seconds for training in theirs),
        "test_mse_ours_worst": max(training.test_mse for training in mine),
        "test_mse_bar": reference_test_mse(),
    }


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small training each; no result")
    parser.add_argument("--ours", type=int, default=3, metavar="N", help="trainings of ours")
    parser.add_argument("--theirs", type=int, default=1, metavar="N", help="of the Keras script")
    arguments = parser.parse_args()
    if min(arguments.ours, arguments.theirs) < 1:
        parser.error("--ours and --theirs must be 1 or more.")
    quick = arguments.quick
    num_ours, num_theirs = (1, 1) if quick else (arguments.ours, arguments.theirs)
    count, epochs = (QUICK_COUNT, QUICK_EPOCHS) if quick else (None, EPOCHS)
    bar = reference_test_mse()
    trainings = []
    with tempfile.TemporaryDirectory() as folder:
        images = write_mnist(folder)
        read_libraries_once()
        for is_ours, seed in in_turn(num_ours, num_theirs):
            if is_ours:
                trainings.append(train_ours(seed, epochs if quick else None, count, bar))
            else:
                trainings.append(train_theirs(images, seed, epochs, count, bar))
            print(trainings[-1], flush=True)
    rows = [dataclasses.asdict(training) for training in trainings]
    print_table(rows)
    if quick:
        print(f"The bar of {bar} is for all images.")
        return
    headline = summarize(trainings)
    print_table([{"headline": name, "value": value} for name, value in headline.items()])
    write_result("time_to_quality", headline, rows, list(range(max(num_ours, num_theirs))))


if __name__ == "__main__":
    main()
