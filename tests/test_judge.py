from dataclasses import asdict

import numpy as np
import pytest

from convae import ConvAutoencoder, Dataset, judge_training, load_dataset
from convae.images.distortion import Distortion

SMALL = {"filters": (8, 16), "latent_dim": 8, **asdict(Distortion())}


def judged(images, **settings):
    model = ConvAutoencoder(**{**SMALL, **settings}).fit(images)
    return judge_training(Dataset("some", images, None, None, None, "here"), model, [])


def test_who_judges_on_training_images_is_told_how_to_do_better():
    found = judged(load_dataset("digits").train[:40], epochs=2)
    assert found.figures["judged_on"] == "training"
    assert found.figures["train_mse"] == pytest.approx(found.figures["mse"])
    assert found.lines[1].startswith("it was judged on images that it learned from; hold some out")


def test_a_network_that_knows_its_images_by_heart_is_no_better_than_pca_and_says_both():
    noise = np.random.default_rng(0).integers(0, 256, (24, 9, 9, 1), np.uint8)
    found = judged(noise, epochs=200, validation_split=0.25, latent_dim=17)
    assert found.figures["mse"] > 2 * found.figures["train_mse"]
    assert found.figures["mse"] >= found.figures["pca_mse"]
    _, by_heart, linear = found.lines
    assert by_heart.startswith("images that it learned from have an MSE of 0.0")
    assert linear.startswith("PCA is as good here, and cheaper: train longer")


def test_a_network_that_serves_new_images_gets_no_advice():
    rows = np.arange(16)[:, None]
    places = np.random.default_rng(0).uniform(3, 13, 300)
    stripes = np.exp(-np.square((rows - places[:, None, None]) / 2)).astype(np.float32)
    images = np.repeat(stripes, 12, axis=2)[..., None]
    found = judged(images, latent_dim=1, epochs=30, validation_split=0.2)
    assert found.figures["mse"] < found.figures["pca_mse"]
    assert not [line for line in found.lines if "PCA is as good" in line or "too well" in line]
