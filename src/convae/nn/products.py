"""3x3 convolutions with `same` padding as matrix products, with their gradients; JAX alone.

XLA's CPU back end is slow at strided and at transposed convolutions, and slower still at their
gradients. Written as one matrix product, with shifted copies before it or shifted sums after it,
the same arithmetic trains many times as fast there (`benchmarks/convolution.py`). Which layers use
this, and when, is decided in `convae.nn.layers`.

A convolution of stride 2 and the transposed one are each other's adjoint, so each gives the other
its gradient: derived by hand, since the derivative that JAX finds for a shifted sum is a sum of
padded arrays, which XLA computes one number at a time.
"""

import jax
import jax.numpy as jnp
from jax.lax import optimization_barrier

from convae.architecture.plan import KERNEL_SIDE

Residuals = tuple[jax.Array, ...]

TAPS = [(row, column) for row in range(KERNEL_SIDE) for column in range(KERNEL_SIDE)]


def convolve(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A convolution: nine shifted copies, then one matrix product.

    Args:
        images: float32 `(batch, height, width, channels)`.
        kernel: float32 `(3, 3, channels, filters)`.
        stride: 1 or 2, for both axes.

    Returns:
        float32 `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    if stride == 2:
        return _convolve_by_2(images, kernel)
    return _apply(_patches(images, stride), kernel)


def convolve_transposed(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A transposed convolution: one matrix product, then shifted sums.

    Args:
        images: float32 `(batch, height, width, channels)`.
        kernel: float32 `(3, 3, filters, channels)`.
        stride: 1 or 2, for both axes.

    Returns:
        float32 `(batch, height * stride, width * stride, filters)`.
    """
    if stride == 2:
        return _convolve_transposed_by_2(images, kernel)
    _, height, width, _ = images.shape
    products = jnp.pad(_products(images, kernel), ((0, 0), (1, 1), (1, 1), *[(0, 0)] * 3))
    return sum(
        products[:, 2 - row : 2 - row + height, 2 - column : 2 - column + width, row, column]
        for row, column in TAPS
    )


def _patches(images: jax.Array, stride: int) -> jax.Array:
    """What each place of the result sees: `(batch, rows, columns, 9 * channels)`."""
    _, height, width, _ = images.shape
    rows, columns = -(-height // stride), -(-width // stride)
    row_span, column_span = (rows - 1) * stride + 1, (columns - 1) * stride + 1
    padding = [_padding(height, stride), _padding(width, stride)]
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    return jnp.concatenate(
        [
            padded[:, row : row + row_span : stride, column : column + column_span : stride]
            for row, column in TAPS
        ],
        axis=-1,
    )


def _padding(side: int, stride: int) -> tuple[int, int]:
    """TensorFlow's `same`: the odd pixel of padding goes to the end."""
    total = max((-(-side // stride) - 1) * stride + KERNEL_SIDE - side, 0)
    return total // 2, total - total // 2


def _apply(patches: jax.Array, kernel: jax.Array) -> jax.Array:
    # Flat, here and below, since XLA turns only a plain matrix product into its fast one.
    *places, depth = patches.shape
    return (patches.reshape(-1, depth) @ kernel.reshape(depth, -1)).reshape(*places, -1)


def _products(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Each pixel times each tap: `(batch, height, width, 3, 3, filters)`."""
    *places, channels = images.shape
    matrix = jnp.transpose(kernel, (3, 0, 1, 2)).reshape(channels, -1)
    return (images.reshape(-1, channels) @ matrix).reshape(*places, KERNEL_SIDE, KERNEL_SIDE, -1)


def _add_shifted(products: jax.Array) -> jax.Array:
    """The sum of a transposed convolution of stride 2: `(batch, 2 * height, 2 * width, filters)`.

    Of the output rows 2m and 2m + 1, the even one gets tap 0 of input row m and tap 2 of input row
    m - 1; the odd one gets tap 1 of input row m. Columns alike.
    """
    _, height, width, _, _, filters = products.shape
    above = jnp.pad(products[:, :-1, :, 2], ((0, 0), (1, 0), *[(0, 0)] * 3))
    both_rows = jnp.stack([products[:, :, :, 0] + above, products[:, :, :, 1]], axis=2)
    both_rows = both_rows.reshape(-1, 2 * height, width, KERNEL_SIDE, filters)
    left = jnp.pad(both_rows[:, :, :-1, 2], ((0, 0), (0, 0), (1, 0), (0, 0)))
    both = jnp.stack([both_rows[:, :, :, 0] + left, both_rows[:, :, :, 1]], axis=3)
    return both.reshape(-1, 2 * height, 2 * width, filters)


# The barriers keep XLA from computing the shifted copies again and again inside what uses them.


@jax.custom_vjp  # type: ignore[untyped-decorator]
def _convolve_by_2(images: jax.Array, kernel: jax.Array) -> jax.Array:
    return _convolve_by_2_forward(images, kernel)[0]


def _convolve_by_2_forward(images: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Residuals]:
    patches = optimization_barrier(_patches(images, 2))
    return optimization_barrier(_apply(patches, kernel)), (patches, kernel, images)


def _convolve_by_2_backward(
    residuals: Residuals, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    patches, kernel, images = residuals
    by_kernel = patches.reshape(-1, patches.shape[-1]).T @ gradient.reshape(-1, gradient.shape[-1])
    _, height, width, _ = images.shape
    top, left = _padding(height, 2)[0], _padding(width, 2)[0]
    by_images = optimization_barrier(_add_shifted(_products(gradient, kernel)))
    by_images = by_images[:, top : top + height, left : left + width]
    return by_images, by_kernel.reshape(kernel.shape)


_convolve_by_2.defvjp(_convolve_by_2_forward, _convolve_by_2_backward)


@jax.custom_vjp  # type: ignore[untyped-decorator]
def _convolve_transposed_by_2(images: jax.Array, kernel: jax.Array) -> jax.Array:
    products = _products(optimization_barrier(images), kernel)
    return optimization_barrier(_add_shifted(products))


def _convolve_transposed_by_2_forward(
    images: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, Residuals]:
    return _convolve_transposed_by_2(images, kernel), (images, kernel)


def _convolve_transposed_by_2_backward(
    residuals: Residuals, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    images, kernel = residuals
    patches = optimization_barrier(_patches(optimization_barrier(gradient), 2))
    by_kernel = images.reshape(-1, images.shape[-1]).T @ patches.reshape(-1, patches.shape[-1])
    by_kernel = by_kernel.reshape(-1, *kernel.shape[:3]).transpose(1, 2, 3, 0)
    return _apply(patches, kernel), by_kernel


_convolve_transposed_by_2.defvjp(
    _convolve_transposed_by_2_forward, _convolve_transposed_by_2_backward
)
