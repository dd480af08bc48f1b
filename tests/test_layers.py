import numpy as np
import pytest

from convae.nn import layers
from convae.nn.backend import keras
from convae.nn.layers import Conv2D, Conv2DTranspose


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def test_products_are_used_on_jax_on_a_cpu_and_nowhere_else():
    expected = keras.backend.backend() == "jax"
    if expected:
        import jax

        expected = jax.default_backend() == "cpu"
    assert layers.products_are_faster() == expected


@pytest.mark.parametrize("products", [False, True] if keras.backend.backend() == "jax" else [False])
def test_the_layers_are_keras_own(products, monkeypatch):
    monkeypatch.setattr(layers, "products_are_faster", lambda: products)
    images = normal(2, 9, 8, 3)
    for ours, stock in (
        (Conv2D, keras.layers.Conv2D),
        (Conv2DTranspose, keras.layers.Conv2DTranspose),
    ):
        options = {"strides": 2, "padding": "same", "activation": "tanh"}
        one, two = ours(4, 3, **options), stock(4, 3, **options)
        outputs = one(images)
        two.build(images.shape)
        two.set_weights([weight + 0.1 for weight in one.get_weights()])
        one.set_weights(two.get_weights())
        assert tuple(outputs.shape) == tuple(one.compute_output_shape(images.shape))
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one(images)),
            keras.ops.convert_to_numpy(two(images)),
            atol=2e-5,
        )
        assert one.get_config().keys() == two.get_config().keys()
