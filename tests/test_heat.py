import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from convae.jobs.anomaly.cells import cell_side
from convae.jobs.anomaly.heat import Box, largest_boxes, smooth_cells, to_pixels


@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 9))
def test_a_pixel_never_exceeds_its_cells_and_each_cell_keeps_its_place(height, width, seed):
    side = cell_side(height, width)
    shape = (2, -(-height // side), -(-width // side))
    cells = np.random.default_rng(seed).random(shape)
    pixels = to_pixels(cells, height, width)
    assert pixels.shape == (2, height, width)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, ::side, ::side], cells, rtol=1e-6)
    np.testing.assert_allclose(pixels.max(axis=(1, 2)), cells.max(axis=(1, 2)), rtol=1e-6)


def test_smoothing_keeps_the_mean_of_the_squares():
    squares = np.zeros((1, 15, 15))
    squares[0, 7, 7] = 4
    smooth = smooth_cells(squares)
    assert np.square(smooth).sum() == pytest.approx(4, rel=1e-3)
    assert smooth.argmax() == 7 * 15 + 7


def test_the_box_is_around_the_region_with_the_most_heat():
    heat = np.zeros((4, 10, 12), np.float32)
    heat[0, 1:4, 1:6] = 1.1  # larger and cooler
    heat[0, 6:8, 8:11] = 5
    heat[2, 1:4, 1:6] = 1.1
    heat[3, -1, 0] = heat[3, 0, -1] = 2  # of equals the first counts
    assert largest_boxes(heat) == [
        Box(left=8, top=6, width=3, height=2),
        None,
        Box(left=1, top=1, width=5, height=3),
        Box(left=11, top=0, width=1, height=1),
    ]
    assert largest_boxes(heat[1:2]) == [None]
    assert largest_boxes(heat[:0]) == []


@given(st.integers(0, 99), st.integers(0, 5), st.integers(1, 9), st.integers(1, 9))
def test_a_box_is_that_of_the_map_alone(seed, count, height, width):
    random = np.random.default_rng(seed)
    heat = random.integers(0, 3, (count, height, width)).astype(np.float32)
    heat *= random.random((count, height, width)) < 0.6
    boxes = largest_boxes(heat)
    assert boxes == [box for image in heat for box in largest_boxes(image[np.newaxis])]
    for image, box in zip(heat, boxes, strict=True):
        regions, number = label(image)
        totals = [image[regions == index + 1].sum() for index in range(number)]
        expected = None
        if totals:
            rows, columns = np.nonzero(regions == np.argmax(totals) + 1)
            sides = (np.ptp(columns) + 1, np.ptp(rows) + 1)
            expected = Box(columns.min(), rows.min(), *sides)
        assert box == expected
