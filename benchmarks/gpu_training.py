"""Training the reference network with JAX on one GPU: how fast, how right, how near the floor.

    python benchmarks/gpu_training.py                     # some minutes; needs a GPU and MNIST
    python benchmarks/gpu_training.py --wheels FOLDER     # where convae and Keras are not installed
    python benchmarks/gpu_training.py --quick             # few images; writes no result
    python benchmarks/gpu_training.py --quick --allow-cpu # the same without a GPU

A bare machine with JAX needs no network: MNIST is read from the folder that CONVAE_DATA names, and
wheels are unpacked into a temporary folder that comes first on the path. Every training is a
process of its own, with the preset `fast`.

First, the loss of each of the first 100 steps is held against that of the same step on the CPU;
they must agree within 5 %. The GPU may round the factors of its products, and each step builds on
the one before: on a CPU, changing each pixel by a thousandth changes one of these losses by 2 %.

Then, images a second are those of whole epochs after the first, which compiles.
`seconds_to_reference_mse` is what all epochs of `fast` take at that rate, training alone;
`seconds_whole_process` is measured, from the start of a process that has compiled nothing before,
to the trained model. Either counts only if that model's test MSE is at or below the reference's.

`fraction_of_floor` is the least time that a step could take over the time that it takes. The floor
is the higher of two: its multiply-adds at the best float32 matrix product measured here, and the
bytes that it must move (`limits.step_bytes` says how they are estimated) at the measured bandwidth
of a large copy. A fraction far below 1 says that starting the step's many small kernels takes the
time, which no floor of this kind contains.
"""

import argparse
import os
import statistics
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
from limits import copy_gb_per_s, matmul_gflops, step_bytes, training_flops
from peers.programs import ON_JAX, Program, ours
from results import print_table, write_result
from time_to_quality import PRESET, reference_test_mse

if TYPE_CHECKING:
    from convae.architecture.plan import Architecture

TOLERANCE = 0.05
NUM_STEPS = 100
REPEATS = 5
SQUARES = (1024, 2048, 4096, 8192)
COPY_BYTES = 2**30
QUICK_OPTIONS = ("--count", 640, "--epochs", 2)
QUICK_STEPS = 10
QUICK_REPEATS = 2
QUICK_SQUARES = (256, 512)
QUICK_COPY_BYTES = 2**26

Means = Sequence[tuple[int, float]]


def unpack_wheels(wheels: Path, folder: Path) -> None:
    """Unpack the wheels of a folder into another and put that first on the path, for programs too.

    Raises:
        SystemExit: There is no wheel in it.
    """
    paths = sorted(wheels.glob("*.whl"))
    if not paths:
        raise SystemExit(
            f"--wheels must name a folder of .whl files; {wheels} has none. Put those of convae, "
            f"Keras and what they need there."
        )
    for path in paths:
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(folder)
    sys.path.insert(0, str(folder))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])


def require_gpu() -> None:
    """Refuse to go on without a GPU.

    Raises:
        SystemExit: JAX computes on something else.
    """
    found = jax.default_backend()
    if found != "gpu":
        raise SystemExit(
            f"This benchmark is of a GPU; JAX computes on {found} here. Run it where JAX finds a "
            f"GPU, or try it out with --allow-cpu, which writes no result."
        )


def first_losses(
    num_steps: int, options: Sequence[object] = (), platform: str | None = None
) -> Means:
    """The mean loss of the first n steps, for each n that the training reports.

    Args:
        num_steps: How many steps to train for.
        options: Further options of `ours.py`.
        platform: JAX's name of what to compute on; None leaves the choice to JAX.
    """
    environment = ON_JAX | ({} if platform is None else {"JAX_PLATFORMS": platform})
    command = ours("--preset", PRESET, "--first-steps", num_steps, *options)
    with Program(f"the first steps on {platform or 'the GPU'}", command, environment) as program:
        means: Means = program.answer()[1]["means"]
    return means[:num_steps]


def step_losses(means: Means) -> list[float]:
    """The loss of each step (or the mean of some, where not all report) from the means up to it."""
    losses = []
    steps_before, sum_before = 0, 0.0
    for steps, mean in means:
        losses.append((steps * mean - sum_before) / (steps - steps_before))
        steps_before, sum_before = steps, steps * mean
    return losses


def largest_deviation(means: Means, expected: Means) -> float:
    """The largest relative difference between the losses of two trainings, step by step.

    Raises:
        SystemExit: They do not report the same steps.
    """
    if not expected or [steps for steps, _ in means] != [steps for steps, _ in expected]:
        raise SystemExit(
            f"Losses are compared step by step; received those of {len(means)} and of "
            f"{len(expected)} steps. Train both on the same images."
        )
    pairs = zip(step_losses(means), step_losses(expected), strict=True)
    return max(abs(loss - right) / right for loss, right in pairs)


def train_cold(options: Sequence[object] = ()) -> tuple[float, int, float]:
    """Seconds from the start of a process to the trained model, images seen, and its test MSE."""
    command = ours("--preset", PRESET, "--evaluate", *options)
    with Program("the whole training", command, ON_JAX) as program:
        seconds, trained = program.answer()
        test_mse = float(program.answer()[1]["test_mse"])
    return seconds, int(trained["images"]), test_mse


def measure_speed(repeats: int, options: Sequence[object] = ()) -> list[float]:
    """Images a second of some trainings of an epoch or more, compiled and warmed up."""
    command = ours("--preset", PRESET, "--repeat", repeats, *options)
    with Program("the steady training", command, ON_JAX) as program:
        program.answer()
        answers = [program.answer()[1] for _ in range(repeats)]
    return [answer["images"] / answer["elapsed_s"] for answer in answers]


def floor_seconds(
    architecture: "Architecture", batch_size: int, gflops: float, gb_per_s: float
) -> dict[str, float]:
    """The least seconds of a training step, by its multiply-adds and by the bytes it moves."""
    return {
        "multiply_adds": 1e-9 * batch_size * training_flops(architecture) / gflops,
        "bytes": 1e-9 * step_bytes(architecture, batch_size) / gb_per_s,
    }


def measure(*, quick: bool) -> dict[str, float]:
    """All figures, by name.

    Raises:
        SystemExit: The GPU computes something else than the CPU.
    """
    # Not at the top: the path may have been set since.
    from convae import ConvAutoencoder
    from convae.architecture.plan import Architecture

    model = ConvAutoencoder.from_preset(PRESET)
    architecture = Architecture(28, 28, 1, latent_dim=model.latent_dim)
    options = QUICK_OPTIONS if quick else ()
    num_steps, repeats = (QUICK_STEPS, QUICK_REPEATS) if quick else (NUM_STEPS, REPEATS)

    expected = first_losses(num_steps, options, "cpu")
    deviation = largest_deviation(first_losses(num_steps, options), expected)
    print(f"losses of the first steps: within {deviation:.2g} of the CPU's, relatively", flush=True)
    if deviation > TOLERANCE:
        raise SystemExit(
            f"The losses of the first {num_steps} steps must agree with the CPU's within "
            f"{TOLERANCE}; they differ by {deviation:.3g}. A speed of wrong steps counts nothing."
        )
    whole_s, num_images, test_mse = train_cold(options)
    speeds = measure_speed(repeats, options)

    # In this process, when no other needs the memory any more.
    gflops = max(matmul_gflops(size, size, size) for size in (QUICK_SQUARES if quick else SQUARES))
    gb_per_s = copy_gb_per_s(QUICK_COPY_BYTES if quick else COPY_BYTES)
    floors = floor_seconds(architecture, model.batch_size, gflops, gb_per_s)
    images_per_s = statistics.median(speeds)
    step_s = model.batch_size / images_per_s
    return {
        "test_mse": test_mse,
        "seconds_training": num_images / images_per_s,
        "seconds_whole_process": whole_s,
        "images_per_s": images_per_s,
        "images_per_s_min": min(speeds),
        "images_per_s_max": max(speeds),
        "us_a_step": 1e6 * step_s,
        "us_a_step_floor_multiply_adds": 1e6 * floors["multiply_adds"],
        "us_a_step_floor_bytes": 1e6 * floors["bytes"],
        "fraction_of_floor": max(floors.values()) / step_s,
        "peak_gflops": gflops,
        "bandwidth_gb_per_s": gb_per_s,
        "largest_loss_deviation_from_cpu": deviation,
    }


def main() -> None:
    """Measure, print and, unless quick or without a GPU, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    parser.add_argument("--allow-cpu", action="store_true", help="try it out; writes no result")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="of what is not installed")
    arguments = parser.parse_args()
    # This process stays by while others train, and must leave them the memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not arguments.allow_cpu:
        require_gpu()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.wheels is not None:
            unpack_wheels(arguments.wheels, Path(folder))
        figures = measure(quick=arguments.quick)
        device = jax.devices()[0].device_kind
        rows = [
            {"figure": name, "value": value, "device": device} for name, value in figures.items()
        ]
        print_table(rows)
        if arguments.quick or arguments.allow_cpu:
            return
        bar = reference_test_mse()
        if figures["test_mse"] > bar:
            raise SystemExit(
                f"A time to the reference's test MSE needs a model that meets it, {bar}; this one "
                f"has {figures['test_mse']:.5f}. No result is written: better the preset."
            )
        headline = {
            "seconds_to_reference_mse": figures["seconds_training"],
            "seconds_whole_process": figures["seconds_whole_process"],
            "images_per_s": figures["images_per_s"],
            "fraction_of_floor": figures["fraction_of_floor"],
        }
        write_result("gpu_training", headline, rows, [0])


if __name__ == "__main__":
    main()
