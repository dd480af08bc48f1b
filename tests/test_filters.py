import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label, map_coordinates

from convae.images.filters import blur, enlarge, label_regions


@pytest.mark.parametrize(
    ("height", "width", "sigma", "step"),
    [(28, 28, 0.7, 1), (28, 20, 1.8, 2), (8, 30, 1.8, 2), (8, 8, 3.6, 4), (1, 9, 1.0, 1)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_blur_is_that_of_scipy(height, width, sigma, step, dtype):
    planes = np.random.default_rng(0).random((2, 3, height, width)).astype(dtype)
    expected = gaussian_filter(planes, (0, 0, sigma, sigma))[..., ::step, ::step]
    found = blur(planes, sigma, step)
    assert (found.dtype, found.shape) == (dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1.2e-7)


def test_an_image_is_blurred_alike_alone_and_among_others():
    planes = np.random.default_rng(0).random((70, 28, 28), dtype=np.float32)
    alone = np.concatenate([blur(planes[i : i + 1], 1.8, 2) for i in range(70)])
    np.testing.assert_array_equal(blur(planes, 1.8, 2), alone)


@pytest.mark.parametrize(("side", "height", "width"), [(2, 28, 28), (8, 125, 100), (2, 9, 10)])
def test_enlarging_is_linear_interpolation(side, height, width):
    planes = np.random.default_rng(0).random((3, -(-height // side), -(-width // side)))
    places = np.meshgrid(np.arange(height) / side, np.arange(width) / side, indexing="ij")
    expected = [map_coordinates(plane, places, order=1, mode="nearest") for plane in planes]
    np.testing.assert_allclose(enlarge(planes, side, height, width), expected, rtol=1e-6)


def test_one_row_or_one_column_is_enlarged_to_itself():
    plane = np.array([[[1.0, 3.0]]])
    np.testing.assert_array_equal(enlarge(plane, 2, 2, 4), [[[1, 2, 3, 3], [1, 2, 3, 3]]])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (30, 40), (90, 70)])
def test_regions_are_numbered_as_scipy_numbers_them(share, shape):
    mask = np.random.default_rng(0).random(shape) < share
    labels, count = label_regions(mask)
    expected, expected_count = label(mask)
    assert count == expected_count
    np.testing.assert_array_equal(labels, expected)


def test_no_region_reaches_into_the_next_mask():
    masks = np.random.default_rng(0).random((5, 9, 7)) < 0.6
    labels, count = label_regions(masks)
    one_by_one = [label(mask) for mask in masks]
    assert count == sum(number for _, number in one_by_one)
    before = 0
    for found, (expected, number) in zip(labels, one_by_one, strict=True):
        np.testing.assert_array_equal(found, np.where(expected, expected + before, 0))
        before += number


def test_a_long_winding_region_is_one():
    mask = np.zeros((101, 101), bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    assert label_regions(mask)[1] == 1
