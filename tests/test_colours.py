import numpy as np
import pytest

from convae.anomaly.cells import grid_shape
from convae.anomaly.colours import colour_features, num_colour_features, sum_colour_cells
from convae.images import to_float


@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (2, 9, 31, 4), (1, 130, 70, 3)])
def test_features_are_means_of_channels(random_images, shape):
    images = random_images(*shape)
    features = colour_features(images)
    assert features.dtype == np.float32
    assert features.shape == (shape[0], num_colour_features(*shape[1:]))
    assert 0 <= features.min() <= features.max() <= 1
    np.testing.assert_array_equal(features, colour_features(to_float(images)))
    plain = colour_features(np.full(shape, 0.25, np.float32))
    np.testing.assert_allclose(plain, 0.25, rtol=1e-5)


def test_a_change_is_in_its_cell(random_images):
    images = random_images(2, 20, 12, 3)
    changed = images.copy()
    changed[:, 14:16, 2:4] = 255 - changed[:, 14:16, 2:4]
    squares = np.square(
        np.subtract(colour_features(changed), colour_features(images), dtype=np.float64)
    )
    cells = sum_colour_cells(squares, 20, 12)
    assert cells.shape == (2, *grid_shape(20, 12))
    assert cells.sum() == pytest.approx(squares.sum())
    for image in cells:
        assert np.unravel_index(image.argmax(), image.shape) == (7, 1)
