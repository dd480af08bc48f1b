import numpy as np
import pytest

from convae.coding.waves import OFFSETS, SLOPE, Canvas, num_waves, waves


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (4, 4), (28, 28), (3, 50), (50, 3)])
def test_every_pixel_comes_once_and_after_its_window(size):
    height, width = size
    when = np.full(size, -1)
    count = 0
    for time, wave in enumerate(waves(height, width)):
        assert (when[wave.rows, wave.columns] == -1).all()
        when[wave.rows, wave.columns] = time
        count += 1
        assert len(wave.rows)
    assert count <= num_waves(height, width)
    assert count == num_waves(height, width) or width < SLOPE
    assert when.min() >= 0
    for row, column in OFFSETS:
        for y in range(max(0, -row), height):
            for x in range(max(0, -column), min(width, width - column)):
                assert when[y + row, x + column] < when[y, x]


def test_a_canvas_gives_back_what_is_on_it_and_windows_with_zeros_around():
    planes = np.random.default_rng(0).integers(0, 256, (3, 6, 7, 2)).astype(np.uint8)
    canvas = Canvas.of(planes)
    np.testing.assert_array_equal(canvas.planes(), planes)
    padded = np.pad(planes, ((0, 0), (4, 4), (4, 4), (0, 0)))
    for wave in waves(6, 7):
        windows = canvas.windows(canvas.places(wave))
        assert windows.shape == (2, len(OFFSETS), len(wave.rows), 3)
        for index, (row, column) in enumerate(OFFSETS):
            found = padded[:, wave.rows + 4 + row, wave.columns + 4 + column]
            np.testing.assert_array_equal(windows[:, index], found.transpose(2, 1, 0))


def test_an_empty_canvas_is_filled_wave_by_wave():
    planes = np.random.default_rng(1).integers(0, 256, (2, 5, 9, 1)).astype(np.uint8)
    canvas = Canvas(*planes.shape)
    for wave in waves(5, 9):
        canvas.values[:, canvas.places(wave)] = planes[:, wave.rows, wave.columns].transpose(
            2, 1, 0
        )
    np.testing.assert_array_equal(canvas.planes(), planes)
