"""A training step with convolutions as matrix products, against Keras's native ones, on JAX.

    python benchmarks/convolution.py            # 5 pairs of 20 steps, about a minute
    python benchmarks/convolution.py --quick    # 1 pair; writes no result

Both train the reference network on the same random images, 32 a step, one right after the other.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from results import print_table, write_result

from convae.architecture.plan import Architecture
from convae.nn import layers
from convae.nn.backend import keras
from convae.nn.build import build_model

STEPS = 20


def make_steps(*, products: bool) -> Callable[[], float]:
    """A function that trains for some steps and returns the seconds of one."""
    layers.products_are_faster = lambda: products
    model = build_model(Architecture(28, 28, 1), seed=0)
    model.compile(keras.optimizers.Adam(1e-3), loss="mse")
    batch = np.random.default_rng(0).random((32, 28, 28, 1), dtype=np.float32)
    model.train_on_batch(batch, batch)  # compiles, while products_are_faster says which

    def steps() -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(batch, batch)
        return (time.perf_counter() - started) / STEPS

    return steps


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pair; writes no result")
    quick = parser.parse_args().quick
    native, product = make_steps(products=False), make_steps(products=True)
    pairs = [(native(), product()) for _ in range(1 if quick else 5)]
    rows = [
        {"convolution": name, "ms_a_step_median": 1e3 * statistics.median(values)}
        for name, values in zip(("native", "product"), zip(*pairs, strict=True), strict=True)
    ]
    ratios = [slow / fast for slow, fast in pairs]
    print_table(rows)
    print(f"native / product: median {statistics.median(ratios):.1f}, ", end="")
    print(f"{min(ratios):.1f} to {max(ratios):.1f}")
    if not quick:
        headline = {
            "native_over_product": statistics.median(ratios),
            "native_over_product_min": min(ratios),
            "native_over_product_max": max(ratios),
        }
        write_result("convolution", headline, rows, [0])


if __name__ == "__main__":
    main()
