"""What a machine can do at most, measured, and what a training step asks of it, counted.

It knows nothing of how a step is computed, and writes no result.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from convae.architecture.plan import Architecture

KERNEL_SIZE = 3 * 3
FLOAT32_BYTES = 4
# Long enough that neither the clock nor starting a computation counts.
TRIAL_S = 0.03
TRIALS = 3


@dataclass(frozen=True)
class Layer:
    """What one layer with a kernel computes for one image.

    Args:
        product: Rows, inner size and columns of the matrix product that it comes to. A convolution
            multiplies the patch below each of its outputs, a transposed one each of its inputs;
            products with the padding are counted.
        num_outputs: Values that it puts out.
        normalized: Whether batch normalization follows.
    """

    product: tuple[int, int, int]
    num_outputs: int
    normalized: bool


def list_layers(architecture: "Architecture") -> list[Layer]:
    """The layers with a kernel, in order."""
    height, width, _ = architecture.image_shape
    layers = []
    for name, shape in architecture.weight_shapes().items():
        if not name.endswith("/kernel"):
            continue
        if len(shape) == 2:
            layers.append(Layer((1, shape[0], shape[1]), shape[1], normalized=False))
        elif "/conv2d_transpose_" in name:
            product = (height * width, shape[3], KERNEL_SIZE * shape[2])
            height, width = 2 * height, 2 * width
            layers.append(Layer(product, height * width * shape[2], normalized=True))
        elif "/conv2d_" in name:
            height, width = -(-height // 2), -(-width // 2)
            product = (height * width, KERNEL_SIZE * shape[2], shape[3])
            layers.append(Layer(product, height * width * shape[3], normalized=True))
        else:
            product = (height * width, shape[3], KERNEL_SIZE * shape[2])
            layers.append(Layer(product, height * width * shape[2], normalized=False))
    return layers


def training_flops(architecture: "Architecture") -> int:
    """Floating-point operations of training on one image: 3 forward passes, 2 a multiply-add.

    Going back takes two products for each one of going forward: for the gradient of its input and
    for that of its weights. The optimizer and what is done element by element are not counted.
    """
    return 3 * 2 * sum(math.prod(layer.product) for layer in list_layers(architecture))


def step_bytes(architecture: "Architecture", batch_size: int) -> int:
    """Bytes that a float32 training step must move between memory and processor, estimated.

    What a layer puts out is written, and read by the next; its gradient is written and read, and
    it is read again for the gradient of the next one's weights: 5 passes over it. Where batch
    normalization follows, its statistics take a pass more, and the two sums of its gradient a pass
    over values and one over gradients: 8. The images are read twice. A weight is read going forward
    and going back, its gradient is written and read, and the optimizer reads and writes it and two
    moments: 10 passes. All else is taken to be done on the way. A cache that holds some of it
    between two passes is not counted, so that a step can, in principle, be faster.
    """
    passes_an_image = 2 * math.prod(architecture.image_shape) + sum(
        (8 if layer.normalized else 5) * layer.num_outputs for layer in list_layers(architecture)
    )
    return FLOAT32_BYTES * (batch_size * passes_an_image + 10 * architecture.num_parameters)


def seconds_a_call(function: Callable[..., Any], *arrays: Any) -> float:  # noqa: ANN401 # of JAX
    """Seconds of one call of a compiled function among many in a row, the best of a few trials."""
    function(*arrays).block_until_ready()
    num_calls, best = 1, float("inf")
    trials = 0
    while trials < TRIALS:
        started = time.perf_counter()
        for _ in range(num_calls):
            result = function(*arrays)
        result.block_until_ready()
        elapsed_s = time.perf_counter() - started
        if elapsed_s < TRIAL_S:
            num_calls *= 2
            continue
        trials += 1
        best = min(best, elapsed_s / num_calls)
    return best


def matmul_gflops(rows: int, inner: int, columns: int) -> float:
    """Measured speed of a float32 matrix product in JAX, in 10^9 operations a second.

    On a GPU, JAX's default precision is meant, which may round the factors.
    """
    key = jax.random.key(0)
    left = jax.random.normal(key, (rows, inner), jnp.float32)
    right = jax.random.normal(key, (inner, columns), jnp.float32)
    return 2e-9 * rows * inner * columns / seconds_a_call(jax.jit(jnp.matmul), left, right)


def copy_gb_per_s(num_bytes: int) -> float:
    """Measured bandwidth of memory in 10^9 bytes a second, those read and those written counted.

    Args:
        num_bytes: Size of the array that is copied, to be far larger than any cache.
    """
    size = num_bytes // FLOAT32_BYTES
    # Adding keeps the copy from being left out.
    elapsed_s = seconds_a_call(jax.jit(lambda array: array + 1), jnp.arange(size, dtype="float32"))
    return 2e-9 * size * FLOAT32_BYTES / elapsed_s
