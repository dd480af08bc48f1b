import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convae.jobs.anomaly.cells import cell_side
from convae.jobs.anomaly.heat import Box, largest_box, smooth_cells, to_pixels


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
    heat = np.zeros((10, 12), np.float32)
    heat[1:4, 1:6] = 1.1  # larger and cooler
    heat[6:8, 8:11] = 5
    assert largest_box(heat) == Box(left=8, top=6, width=3, height=2)
    heat[6:8, 8:11] = 0
    assert largest_box(heat) == Box(left=1, top=1, width=5, height=3)
    assert largest_box(np.zeros((10, 12), np.float32)) is None
