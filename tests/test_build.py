import math
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convae import ConvAutoencoder
from convae.architecture.plan import Architecture
from convae.errors import ParameterError
from convae.nn.backend import keras
from convae.nn.build import GlorotUniform, build_model, get_weights, set_weights

REFERENCE_TABLE = [
    ("encoder", "images", "InputLayer", (28, 28, 1), 0),
    ("encoder", "conv2d_1", "Conv2D", (14, 14, 32), 320),
    ("encoder", "leaky_relu_1", "LeakyReLU", (14, 14, 32), 0),
    ("encoder", "batch_normalization_1", "BatchNormalization", (14, 14, 32), 128),
    ("encoder", "conv2d_2", "Conv2D", (7, 7, 64), 18_496),
    ("encoder", "leaky_relu_2", "LeakyReLU", (7, 7, 64), 0),
    ("encoder", "batch_normalization_2", "BatchNormalization", (7, 7, 64), 256),
    ("encoder", "flatten", "Flatten", (3136,), 0),
    ("encoder", "latents", "Dense", (16,), 50_192),
    ("decoder", "latents_input", "InputLayer", (16,), 0),
    ("decoder", "volume", "Dense", (3136,), 53_312),
    ("decoder", "reshape", "Reshape", (7, 7, 64), 0),
    ("decoder", "conv2d_transpose_3", "Conv2DTranspose", (14, 14, 64), 36_928),
    ("decoder", "leaky_relu_3", "LeakyReLU", (14, 14, 64), 0),
    ("decoder", "batch_normalization_3", "BatchNormalization", (14, 14, 64), 256),
    ("decoder", "conv2d_transpose_4", "Conv2DTranspose", (28, 28, 32), 18_464),
    ("decoder", "leaky_relu_4", "LeakyReLU", (28, 28, 32), 0),
    ("decoder", "batch_normalization_4", "BatchNormalization", (28, 28, 32), 128),
    ("decoder", "reconstruction", "Conv2DTranspose", (28, 28, 1), 289),
    ("decoder", "pixels", "Activation", (28, 28, 1), 0),
]


def keras_table(model):
    return [
        (
            part,
            layer.name,
            type(layer).__name__,
            tuple(layer.output.shape[1:]),
            layer.count_params(),
        )
        for part in ("encoder", "decoder")
        for layer in model.get_layer(part).layers
    ]


@pytest.mark.parametrize("shape", [(3, 3, 1, 4), (3, 3, 5, 7), (30, 17), (1, 1), (700, 128)])
def test_first_weights_are_those_that_keras_draws(shape):
    drawn = keras.ops.convert_to_numpy(GlorotUniform(seed=7)(shape))
    expected = keras.ops.convert_to_numpy(keras.initializers.GlorotUniform(seed=7)(shape))
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, expected)


def test_the_reference_network_is_the_one_of_the_design():
    model = ConvAutoencoder.build(width=28, height=28, depth=1)
    assert model.name == "autoencoder"
    assert [layer.name for layer in model.layers] == ["images", "encoder", "decoder"]
    assert model.get_layer("encoder").count_params() == 69_392
    assert model.get_layer("decoder").count_params() == 109_377
    assert model.count_params() == 178_769
    counts = [
        sum(math.prod(weight.shape) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    ]
    assert counts == [178_385, 384]
    assert keras_table(model) == REFERENCE_TABLE
    slopes = {
        layer.negative_slope
        for part in model.layers[1:]
        for layer in part.layers
        if isinstance(layer, keras.layers.LeakyReLU)
    }
    assert slopes == {0.2}


@settings(max_examples=8, deadline=None)
@given(
    st.integers(8, 40),
    st.integers(8, 40),
    st.sampled_from([1, 3, 4]),
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    st.integers(1, 5),
)
def test_any_size_comes_back_and_the_table_is_what_keras_built(
    height, width, channels, filters, latent_dim
):
    architecture = Architecture(height, width, channels, filters, latent_dim)
    model = build_model(architecture)
    assert model.output_shape == (None, height, width, channels)
    rows = [
        (row.model, row.name, row.kind, row.output_shape, row.num_parameters)
        for row in architecture.layers()
    ]
    assert rows == keras_table(model)
    shapes = {name: value.shape for name, value in get_weights(model).items()}
    assert shapes == architecture.weight_shapes()
    trainable = sum(row.num_trainable for row in architecture.layers())
    assert trainable == sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_width_comes_before_height_and_depth_last():
    assert ConvAutoencoder.build(20, 12, 3, filters=[4], latent_dim=2).output_shape == (
        None,
        12,
        20,
        3,
    )


def test_no_two_layers_with_weights_share_a_name():
    """On PyTorch the gradients of layers of one name are summed up without end."""
    names = [row.name for row in Architecture(32, 32, 3, (4, 5, 6)).layers()]
    assert len(names) == len(set(names))


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    architecture = Architecture(8, 8, 1, (3, 3), 2)
    first, again, other = (get_weights(build_model(architecture, seed)) for seed in (5, 5, 6))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert not np.array_equal(first["encoder/latents/kernel"], other["encoder/latents/kernel"])
    assert not np.array_equal(
        first["decoder/conv2d_transpose_3/kernel"], first["decoder/conv2d_transpose_4/kernel"]
    )


def test_building_leaves_the_random_state_of_the_user_alone():
    np.random.seed(1)  # noqa: NPY002 # the global state is what this test is about
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    build_model(Architecture(8, 8, 1, (3,), 2), seed=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_weights_go_out_and_in_again(random_images):
    architecture = Architecture(9, 8, 3, (3,), 2)
    one, two = build_model(architecture, 1), build_model(architecture, 2)
    images = random_images(4, 9, 8, 3) / np.float32(255)
    set_weights(two, get_weights(one))
    np.testing.assert_array_equal(one.predict_on_batch(images), two.predict_on_batch(images))


def test_a_keras_file_names_stock_layers_and_loads_without_convae(random_images, tmp_path):
    model = ConvAutoencoder.build(9, 10, 3, filters=(4, 3), latent_dim=2)
    images = random_images(4, 10, 9, 3) / np.float32(255)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"convae" not in archive.read("config.json")
    program = (
        "import sys, numpy as np, keras\n"
        "model = keras.saving.load_model('model.keras')\n"
        "assert not any(name.startswith('convae') for name in sys.modules)\n"
        "np.save('out.npy', model.predict(np.load('images.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=300)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(7, 28, 1), (28, 28, 2), (28, 28, 0)])
def test_a_size_outside_the_bounds_is_refused(size):
    with pytest.raises(ParameterError, match="received"):
        ConvAutoencoder.build(*size)
