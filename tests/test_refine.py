import itertools

import numpy as np
import pytest

from convae import ConvAutoencoder
from convae.errors import ParameterError
from convae.nn.backend import keras


@pytest.fixture(scope="module")
def images(digits):
    return digits[:12]


def test_refining_lowers_the_error_of_every_image_or_leaves_it(fitted, images):
    errors = [-fitted.score_samples(images, refinement_steps=steps) for steps in (0, 1, 2, 4)]
    for before, after in itertools.pairwise(errors):
        assert (after <= before * (1 + 1e-5)).all()
    assert errors[-1].mean() < 0.95 * errors[0].mean()


def test_refined_latents_reconstruct_what_reconstruct_says(fitted, images):
    latents = fitted.transform(images, refinement_steps=2)
    rebuilt = fitted.inverse_transform(latents).reshape(images.shape)
    np.testing.assert_allclose(
        rebuilt, fitted.reconstruct(images, refinement_steps=2), rtol=0, atol=1e-5
    )


def test_latents_that_cannot_be_improved_stay(fitted, images):
    best = fitted.reconstruct(images)
    moved = fitted.transform(best, refinement_steps=30)
    again = fitted.inverse_transform(moved).reshape(best.shape)
    errors = np.square(again - best).reshape(len(best), -1).mean(axis=1)
    assert errors.max() < 1e-6


@pytest.mark.parametrize("steps", [-1, 1001, 1.5, True])
def test_the_number_of_steps_must_be_a_whole_number(fitted, images, steps):
    for method in (fitted.transform, fitted.reconstruct, fitted.score_samples):
        with pytest.raises(ParameterError, match="refinement_steps must be"):
            method(images, refinement_steps=steps)


def test_an_image_is_refined_alike_alone_and_among_others(fitted, images):
    together = fitted.score_samples(images, refinement_steps=3)
    alone = [fitted.score(image[np.newaxis]) for image in images]
    refined = [fitted.score_samples(image[np.newaxis], refinement_steps=3)[0] for image in images]
    assert (np.array(refined) > alone).any()
    np.testing.assert_allclose(refined, together, rtol=1e-2)


def test_latents_of_zero_and_latents_without_effect_do_no_harm():
    model = ConvAutoencoder(filters=(3,), latent_dim=2, epochs=1).fit(np.zeros((4, 8, 8), np.uint8))
    for weight in model.keras_model.get_layer("encoder").weights:
        weight.assign(np.zeros(weight.shape))
    kernel = model.keras_model.get_layer("decoder").get_layer("volume").kernel
    values = keras.ops.convert_to_numpy(kernel.value).copy()
    values[1] = 0
    kernel.assign(values)
    images = np.full((1, 8, 8), 90, np.uint8)
    refined = model.transform(images, refinement_steps=3)
    assert np.isfinite(refined).all()
    assert np.abs(refined).max() <= 3.001
    assert model.score(images) <= model.score_samples(images, refinement_steps=3)[0]
