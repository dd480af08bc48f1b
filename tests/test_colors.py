import numpy as np
import pytest

from convae.images import to_float
from convae.jobs.anomaly.cells import grid_shape
from convae.jobs.anomaly.colors import color_features, num_color_features, sum_color_cells


@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (2, 9, 31, 4), (1, 130, 70, 3)])
def test_features_are_shares_of_colors(random_images, shape):
    images = random_images(*shape)
    features = color_features(images)
    assert features.dtype == np.float32
    assert features.shape == (shape[0], num_color_features(shape[1:]))
    assert features.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(features, color_features(to_float(images)))
    # It does not matter where a color is.
    np.testing.assert_allclose(features, color_features(images[:, ::-1]), atol=1e-6)


def test_half_red_and_half_black():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    images[:, :4, :, 0] = 255
    features = color_features(images)[0]
    assert features[3] == features[0] == pytest.approx(0.5**0.5)
    assert (np.delete(features, [0, 3]) == 0).all()


def test_the_extra_color_is_where_it_is():
    images = np.zeros((2, 20, 12, 3), np.float32)
    changed = images.copy()
    changed[:, 14:16, 2:4, 1] = 1
    differences = np.subtract(color_features(changed), color_features(images), dtype=np.float64)
    cells = sum_color_cells(differences, changed)
    assert cells.shape == (2, *grid_shape(20, 12))
    for image in cells:
        assert np.unravel_index(image.argmax(), image.shape) == (7, 1)
    # What there is too little of is nowhere.
    assert not sum_color_cells(-np.abs(differences), changed).any()
