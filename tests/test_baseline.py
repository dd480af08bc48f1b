import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import convae.baselines.pca
from convae.autoencoder.applied import model_mse
from convae.baselines.pca import pca_mse
from convae.images import store_images
from convae.images.selection import Selection


def by_hand(train, test, num_components):
    flat = train.reshape(len(train), -1) / 255
    pca = PCA(num_components, svd_solver="full").fit(flat)
    parts = test.reshape(len(test), -1) / 255
    return float(np.square(parts - pca.inverse_transform(pca.transform(parts))).mean())


@pytest.mark.parametrize("num_components", [1, 5, 20])
def test_it_is_the_error_of_principal_components(digits, num_components):
    train, test = digits[:50], digits[50:]
    expected = by_hand(train, test, num_components)
    assert pca_mse(train, test, num_components) == pytest.approx(expected, rel=1e-3)


def test_bytes_and_floats_give_the_same(digits):
    as_floats = digits.astype(np.float32) / np.float32(255)
    assert pca_mse(as_floats, as_floats, 6) == pytest.approx(pca_mse(digits, digits, 6), rel=1e-6)


@given(st.integers(1, 40), st.integers(1, 100), st.sampled_from((1, 3)))
def test_few_images_and_few_pixels_are_no_hindrance(num_images, num_components, channels):
    shape = (num_images, 8, 8, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    error = pca_mse(images, images, num_components)
    assert 0 <= error <= 1
    if num_components >= num_images:
        assert error < 1e-9


def test_images_that_are_all_equal_have_no_error_and_give_no_warning():
    images = np.full((5, 8, 8, 1), 77, np.uint8)
    assert pca_mse(images, images, 3) < 1e-12
    assert pca_mse(images[:1], images, 3) < 1e-12


def test_judging_in_parts_gives_the_error_over_all(digits, monkeypatch):
    whole = pca_mse(digits, digits, 4)
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 1000)
    assert pca_mse(digits, digits, 4) == pytest.approx(whole, rel=1e-6)


def test_large_images_are_fitted_on_fewer_but_never_fewer_than_the_components(digits, monkeypatch):
    monkeypatch.setattr(convae.baselines.pca, "MOST_VALUES", 10 * digits[0].size)
    spread = digits[np.linspace(0, 63, 10).astype(int)]
    assert pca_mse(digits, digits, 4) == pytest.approx(by_hand(spread, digits, 4), rel=1e-3)
    spread = digits[np.linspace(0, 63, 16).astype(int)]
    assert pca_mse(digits, digits, 16) == pytest.approx(by_hand(spread, digits, 16), rel=1e-3)


@pytest.mark.parametrize("as_floats", [False, True])
def test_a_selection_is_judged_as_an_array_of_its_images(digits, fitted, monkeypatch, as_floats):
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 5000)
    images = digits.astype(np.float32) / np.float32(255) if as_floats else digits
    indices = np.random.default_rng(0).permutation(64)
    seen, judged = Selection(images, indices[:45]), Selection(images, indices[45:])
    assert judged.shape == images[indices[45:]].shape
    expected = pca_mse(images[indices[:45]], images[indices[45:]], 4)
    assert pca_mse(seen, judged, 4) == expected
    assert model_mse(fitted, judged) == -fitted.score(images[indices[45:]])
    assert model_mse(fitted, images) == -fitted.score(images)


class Blank:
    """A model that takes any images and makes black ones of them."""

    def score_samples(self, images):
        return -np.square(images / np.float64(255)).mean(axis=(1, 2, 3))


def test_stored_images_are_judged_in_bounded_memory(tmp_path, monkeypatch):
    values = np.repeat(np.arange(256, dtype=np.uint8), 100)
    parts = (np.full((100, 32, 32, 1), value, np.uint8) for value in range(256))
    images = store_images(parts, tmp_path / "images.npy")
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 2**17)
    monkeypatch.setattr(convae.baselines.pca, "MOST_VALUES", 2**17)
    odd, even = np.arange(1, len(images), 2), np.arange(0, len(images), 2)
    tracemalloc.start()
    of_model = model_mse(Blank(), Selection(images, odd))
    of_pca = pca_mse(Selection(images, even), Selection(images, odd), 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes / 4
    assert of_model == pytest.approx(np.square(values / 255).mean())
    # Images of one value lie on a line.
    assert of_pca == pytest.approx(0, abs=1e-9)
