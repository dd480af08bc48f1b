"""Every backend computes the same network: each is held against NumPy, within 1e-5."""

import numpy as np
import pytest
from oracle import decode, encode, random_weights

from convae import ConvAutoencoder
from convae.architecture.plan import Architecture
from convae.architecture.recipe import TrainingOptions
from convae.nn.backend import keras
from convae.storage.modelfile import ModelContents

SAME = 1e-5


def estimator_with(architecture, weights):
    contents = ModelContents(
        architecture=architecture,
        weights=weights,
        preprocessing={"channel_axis": True},
        data={},
        training={"options": TrainingOptions(epochs=1).to_json(), "history": []},
        versions={},
    )
    return ConvAutoencoder.from_contents(contents)


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(28, 28, 1),
        Architecture(8, 8, 4, (5,), 3),
        Architecture(9, 13, 3, (6, 4), 5),
        Architecture(31, 10, 1, (4, 3, 5), 2),
    ],
    ids=str,
)
def test_latents_and_reconstructions_are_those_of_the_definition(architecture):
    weights = random_weights(architecture, seed=1)
    model = estimator_with(architecture, weights)
    images = np.random.default_rng(2).random((5, *architecture.image_shape), dtype=np.float32)
    latents = encode(architecture, weights, images)
    np.testing.assert_allclose(model.transform(images), latents, atol=SAME * np.abs(latents).max())
    rebuilt = decode(architecture, weights, latents)
    np.testing.assert_allclose(model.reconstruct(images), rebuilt, atol=SAME)
    np.testing.assert_allclose(
        model.inverse_transform(latents.astype(np.float32)), rebuilt, atol=SAME
    )


def test_training_lowers_the_loss_and_the_file_gives_the_same_model_back(digits, tmp_path):
    model = ConvAutoencoder(filters=(4, 8), latent_dim=4, epochs=6, learning_rate=0.01).fit(digits)
    losses = [record["loss"] for record in model.history_]
    assert losses[-1] < 0.8 * losses[0]
    model.save(tmp_path / "model.safetensors")
    again = ConvAutoencoder.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.reconstruct(digits), model.reconstruct(digits))
    assert -model.score(digits) < losses[0]


def test_the_loss_of_the_first_step_is_that_of_the_definition(digits):
    """Before any step, in training mode: batch statistics, so checked through the statistics."""
    images = digits[:32] / np.float32(255)
    model = ConvAutoencoder(
        filters=(4,), latent_dim=3, epochs=1, learning_rate=1e-30, batch_size=32
    ).fit(images)
    architecture = model.architecture_
    rebuilt = decode(architecture, model.weights_, encode(architecture, model.weights_, images))
    # With the statistics recomputed from the one batch, inference is what training saw.
    assert np.mean((rebuilt - images) ** 2) == pytest.approx(model.history_[0]["loss"], abs=SAME)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("image_data_format", "channels_first"),
        ("floatx", "float16"),
        ("dtype_policy", "mixed_float16"),
    ],
)
def test_what_keras_is_told_for_the_whole_process_changes_nothing(digits, setting, value):
    # An architecture for each, since what is compiled is kept.
    recipe = {"filters": (len(setting),), "latent_dim": 2, "epochs": 2, "loss": "ssim"}
    before = getattr(keras.config, setting)()
    getattr(keras.config, f"set_{setting}")(value)
    try:
        model = ConvAutoencoder(**recipe).fit(digits)
        found = model.reconstruct(digits)
        if setting == "floatx":
            assert keras.config.floatx() == value
    finally:
        getattr(keras.config, f"set_{setting}")(before)
    assert {weight.dtype for weight in model.weights_.values()} == {np.dtype(np.float32)}
    again = ConvAutoencoder(**recipe).fit(digits)
    np.testing.assert_array_equal(again.reconstruct(digits), found)
    expected = decode(model.architecture_, model.weights_, model.transform(digits))
    np.testing.assert_allclose(found, expected, atol=SAME)
