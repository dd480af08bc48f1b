"""The passes of the encoder over an image."""

from dataclasses import replace

import numpy as np
import pytest

from convae import ConvAutoencoder, load_dataset


def with_passes(model, count):
    """The same weights with another number of passes."""
    contents = model.to_contents()
    architecture = replace(contents.architecture, encoder_passes=count)
    return ConvAutoencoder.from_contents(replace(contents, architecture=architecture))


@pytest.fixture(scope="module")
def looking(fitted):
    return lambda count: with_passes(fitted, count)


def test_each_pass_adds_what_the_encoder_misses_in_the_reconstruction(looking, digits):
    once = looking(1)
    first = latents = once.transform(digits)
    for count in (2, 3):
        model = looking(count)
        latents = latents + (first - once.transform(once.inverse_transform(latents)))
        np.testing.assert_allclose(model.transform(digits), latents, atol=2e-3)
        rebuilt = once.inverse_transform(latents)
        np.testing.assert_allclose(model.reconstruct(digits), rebuilt, atol=1e-3)


def test_one_pass_is_the_encoder(looking, digits):
    encoder = looking(1).keras_model.get_layer("encoder")
    expected = encoder.predict_on_batch(digits.astype(np.float32) / 255)
    np.testing.assert_allclose(looking(1).transform(digits), expected, rtol=1e-4, atol=1e-5)


def test_a_second_pass_lowers_the_error_of_unseen_images_on_a_trained_network():
    digits = load_dataset("digits").train
    model = ConvAutoencoder(filters=(8, 16), latent_dim=6, epochs=20).fit(digits[:400])
    assert model.architecture_.encoder_passes == 2
    assert model.score(digits[400:]) > with_passes(model, 1).score(digits[400:])


def test_a_model_remembers_its_passes(looking, tmp_path):
    looking(3).save(tmp_path / "model")
    loaded = ConvAutoencoder.load(tmp_path / "model")
    assert loaded.encoder_passes == loaded.architecture_.encoder_passes == 3
    assert ConvAutoencoder().encoder_passes == 2
    assert ConvAutoencoder.from_preset("reference").encoder_passes == 1


def test_validation_judges_what_all_passes_give():
    digits = load_dataset("digits").train[:80]
    model = ConvAutoencoder(
        filters=(4, 8), latent_dim=4, epochs=3, learning_rate=0.01, validation_split=0.25
    ).fit(digits)
    best = min(record["val_loss"] for record in model.history_)
    assert best == pytest.approx(-model.score(digits[model.validation_indices_]), rel=1e-4)
