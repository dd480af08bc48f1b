import jax
import numpy as np
import pytest

from convae.nn.backend import keras
from convae.nn.products import convolve, convolve_transposed


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def native(images, kernel, stride):
    return keras.ops.conv(images, kernel, stride, "same")


def native_transposed(images, kernel, stride):
    return keras.ops.conv_transpose(images, kernel, stride, "same")


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (8, 11), (13, 9)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("product", "expected", "kernel_shape"),
    [
        (convolve, native, (3, 3, 3, 5)),
        (convolve_transposed, native_transposed, (3, 3, 5, 3)),
    ],
)
def test_products_and_their_gradients_are_the_native_ones(
    product, expected, kernel_shape, stride, size
):
    images, kernel = normal(2, *size, 3), normal(*kernel_shape)
    outputs, pull_back = jax.vjp(lambda *inputs: product(*inputs, stride), images, kernel)
    wanted, pull_wanted_back = jax.vjp(lambda *inputs: expected(*inputs, stride), images, kernel)
    np.testing.assert_allclose(outputs, wanted, atol=2e-5)
    directions = normal(*outputs.shape)
    pairs = zip(pull_back(directions), pull_wanted_back(directions), strict=True)
    for gradient, wanted_gradient in pairs:
        np.testing.assert_allclose(gradient, wanted_gradient, atol=2e-4)
