"""Images a second of training the reference network on a CPU: ours, stock Keras, plain PyTorch.

    python benchmarks/training_speed.py            # 10 rounds, about 8 minutes on 2 cores
    python benchmarks/training_speed.py --quick    # 2 short rounds; writes no result

The programs of benchmarks/peers all stay alive, warmed up, and are told in turn to train on MNIST's
first images, so that no two train at once; each round starts with another one. All take 32 images a
step, but `fast` has another optimizer (Muon) than the others (Adam). Ratios are taken round by
round; `vs_pytorch_float32` is against the faster of its two layouts.

`fraction_of_float32_peak` counts the multiply-adds of the layers alone (three forward passes) and
divides them by the best float32 matrix product of JAX in the same run, on squares and on the
network's own shapes.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence

from limits import list_layers, matmul_gflops, training_flops
from peers.programs import (
    KERAS_SCRIPT,
    ON_JAX,
    ON_TENSORFLOW,
    TORCH_LOOP,
    Program,
    ours,
    peer_python,
    write_mnist,
)
from results import print_table, write_result

from convae import ConvAutoencoder
from convae.architecture.plan import Architecture

ROUNDS = 10
COUNT = 16_384
QUICK_ROUNDS = 2
QUICK_COUNT = 1_024
SQUARES = (512, 1024, 2048)
# Threads of a library may go on waiting busily for a while after their work.
PAUSE_S = 0.5

FAST, REFERENCE = "convae fast", "convae reference"
KERAS = "keras on tensorflow"
PLAIN_TORCH = ("pytorch channels_last", "pytorch contiguous")
TORCH_BFLOAT16 = "pytorch bfloat16 autocast"
PEAK = "float32 peak"

Speeds = dict[str, list[float]]


def start_programs(images: object, count: int, rounds: int) -> list[Program]:
    """All programs, starting up side by side."""
    options = ("--images", images, "--count", count, "--repeat", rounds, "--on-request")
    torch = (peer_python("torch"), TORCH_LOOP, *options)
    keras = (peer_python("tensorflow"), KERAS_SCRIPT, *options)
    return [
        Program(FAST, ours("--preset", "fast", *options), ON_JAX),
        Program(KERAS, keras, ON_TENSORFLOW),
        Program(PLAIN_TORCH[0], (*torch, "--layout", "channels_last")),
        Program(REFERENCE, ours("--preset", "reference", *options), ON_JAX),
        Program(PLAIN_TORCH[1], (*torch, "--layout", "contiguous")),
        Program(TORCH_BFLOAT16, (*torch, "--precision", "bfloat16")),
    ]


def best_gflops(shapes: Sequence[tuple[int, int, int]]) -> float:
    """The best of one measurement of each product's speed."""
    return max(matmul_gflops(*shape) for shape in shapes)


def measure(
    programs: Sequence[Program], rounds: int, shapes: Sequence[tuple[int, int, int]], flops: int
) -> tuple[Speeds, dict[str, float]]:
    """Images a second of each program and round, and each program's last loss.

    The peak is counted in images a second too: those that it would allow.
    """
    speeds: Speeds = {name: [] for name in (*(program.name for program in programs), PEAK)}
    losses: dict[str, float] = {}
    for number in range(rounds):
        first = number % len(programs)
        for program in (*programs[first:], *programs[:first]):
            time.sleep(PAUSE_S)
            answer = program.ask()
            speeds[program.name].append(answer["images"] / answer["elapsed_s"])
            losses[program.name] = answer["loss"]
        time.sleep(PAUSE_S)
        speeds[PEAK].append(1e9 * best_gflops(shapes) / flops)
    return speeds, losses


def ratios(speeds: Mapping[str, Sequence[float]], peer: str) -> list[float]:
    """How many times as fast as a peer `fast` was, round by round."""
    return [mine / theirs for mine, theirs in zip(speeds[FAST], speeds[peer], strict=True)]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median and the ends of some ratios, as a headline has them."""
    return {
        name: statistics.median(values),
        f"{name}_min": min(values),
        f"{name}_max": max(values),
    }


def summarize(speeds: Speeds, flops: int) -> dict[str, float]:
    """The headline."""
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best_torch = max(PLAIN_TORCH, key=medians.__getitem__)
    peak = max(speeds[PEAK])
    return {
        **spread("vs_keras_tensorflow", ratios(speeds, KERAS)),
        **spread("vs_pytorch_float32", ratios(speeds, best_torch)),
        **spread("fraction_of_float32_peak", [value / peak for value in speeds[FAST]]),
        "float32_peak_gflops": 1e-9 * peak * flops,
        "images_per_s": medians[FAST],
    }


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 short rounds; writes no result")
    quick = parser.parse_args().quick
    rounds, count = (QUICK_ROUNDS, QUICK_COUNT) if quick else (ROUNDS, COUNT)
    model = ConvAutoencoder.from_preset("fast")
    architecture = Architecture(28, 28, 1, latent_dim=model.latent_dim)
    flops = training_flops(architecture)
    own = [layer.product for layer in list_layers(architecture)]
    shapes = [(size, size, size) for size in SQUARES] + [
        (model.batch_size * places, inner, columns) for places, inner, columns in own
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        programs = start_programs(write_mnist(folder), count, rounds)
        for program in programs:
            stack.enter_context(program)
        libraries = {program.name: program.answer()[1]["library"] for program in programs}
        speeds, losses = measure(programs, rounds, shapes, flops)
    rows = [
        {
            "program": name,
            "images_per_s_median": statistics.median(values),
            "images_per_s_min": min(values),
            "images_per_s_max": max(values),
            "loss_at_the_end": losses.get(name),
            "library": libraries.get(name, "jax, matrix products alone"),
        }
        for name, values in speeds.items()
    ]
    headline = summarize(speeds, flops)
    print_table(rows)
    print_table([{"headline": name, "value": value} for name, value in headline.items()])
    if not quick:
        write_result("training_speed", headline, rows, [0])


if __name__ == "__main__":
    main()
