import numpy as np
import pytest

from convae.images import to_float
from convae.jobs.anomaly.cells import MOST_CELLS, cell_side
from convae.jobs.anomaly.edges import edge_features, num_edge_features


@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (2, 8, 8, 3), (2, 9, 31, 4), (1, 130, 70, 3)])
def test_an_image_is_a_vector_of_unit_length(random_images, shape):
    features = edge_features(to_float(random_images(*shape)))
    assert features.dtype == np.float32
    assert features.shape == (shape[0], num_edge_features(shape[1:]))
    assert features.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("side", [8, 28, 33, 512, 4000])
def test_larger_images_have_larger_cells_not_longer_vectors(side):
    assert num_edge_features((side, side, 3)) <= MOST_CELLS**2 * 12
    assert cell_side(side, side // 2) == cell_side(side // 2, side)


def test_an_image_without_an_edge_is_zero():
    assert not edge_features(np.full((2, 10, 12, 3), 0.5, np.float32)).any()


def test_neither_contrast_nor_brightness_counts(digits):
    images = to_float(digits)
    features = edge_features(images)
    np.testing.assert_allclose(edge_features(0.3 * images + 0.2), features, atol=1e-4)


def test_equal_channels_are_as_one(digits):
    gray = to_float(digits)
    np.testing.assert_allclose(
        edge_features(np.repeat(gray, 3, axis=3)), edge_features(gray), atol=1e-6
    )


def test_an_upright_edge_differs_from_a_level_one_and_dark_to_light_from_light_to_dark():
    upright = np.zeros((1, 16, 16, 1), np.float32)
    upright[:, :, 8:] = 1
    level = upright.transpose(0, 2, 1, 3)
    of_upright, of_level, of_reverse = (
        edge_features(image)[0] for image in (upright, level, 1 - upright)
    )
    assert of_upright @ of_level < 0.1
    # The half of the vector that takes both together is the same.
    assert of_upright @ of_reverse == pytest.approx(0.5, abs=0.01)


def test_a_small_shift_matters_less_than_another_digit(digits):
    features = edge_features(to_float(digits))
    moved = edge_features(to_float(np.roll(digits, 1, axis=2)))
    same = np.einsum("ij,ij->i", features, moved)
    other = np.einsum("ij,ij->i", features, np.roll(features, 1, axis=0))
    assert (same > other).all()


def test_each_image_is_judged_on_its_own(random_images):
    images = to_float(random_images(5, 20, 12, 3))
    alone = np.concatenate([edge_features(image[np.newaxis]) for image in images])
    np.testing.assert_allclose(edge_features(images), alone, atol=1e-6)
