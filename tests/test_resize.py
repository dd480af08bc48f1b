import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convae.errors import ParameterError
from convae.images import fit_channels, fit_size
from convae.images.resize import check_channels, check_size

SIDES = st.integers(8, 40)
FITS = ["pad", "crop", "stretch"]


def gradient(height, width, channels=1):
    rows, columns = np.mgrid[:height, :width]
    plane = (rows / height + columns / width) / 2
    return np.repeat(plane[..., np.newaxis], channels, axis=-1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@given(
    sides=st.tuples(SIDES, SIDES, SIDES, SIDES),
    channels=st.sampled_from([1, 3, 4]),
    fit=st.sampled_from(FITS),
    value=st.integers(0, 255),
)
def test_a_flat_picture_stays_flat_at_any_size(dtype, sides, channels, fit, value):
    height, width, new_height, new_width = sides
    whole = 255 if dtype == np.uint8 else 1
    image = np.full((height, width, channels), value / 255 * whole, dtype)
    if channels == 4:
        image[..., 3] = whole
    resized = fit_size(image, new_height, new_width, fit)
    assert resized.shape == (new_height, new_width, channels)
    assert resized.dtype == dtype
    assert np.allclose(resized, image[0, 0], atol=1e-6)


@given(arrays.arrays(np.float32, (9, 12, 4), elements=st.floats(0, 1, width=32)))
def test_floats_stay_in_their_range(image):
    resized = fit_size(image, 16, 11, "stretch")
    assert resized.min() >= 0
    assert resized.max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fit", FITS)
def test_floats_and_bytes_are_resized_alike(channels, fit):
    image = gradient(24, 36, channels).astype(np.float32)
    image[..., 3:] = 0.5 + image[..., 3:] / 2  # bytes lose the color of what is hardly visible
    pixels = np.rint(image * 255).astype(np.uint8)
    floats = fit_size(pixels / np.float32(255), 16, 16, fit)
    assert np.abs(floats * 255 - fit_size(pixels, 16, 16, fit)).max() <= 3


def test_the_same_size_is_not_touched():
    image = np.zeros((8, 9, 3), np.uint8)
    assert fit_size(image, 8, 9) is image


def test_pad_keeps_the_aspect_and_repeats_the_edge():
    image = np.zeros((8, 16, 1), np.uint8)
    image[0], image[-1] = 255, 100
    padded = fit_size(image, 16, 16, "pad")
    assert np.array_equal(padded[4:12], image)
    assert (padded[:4] == 255).all()
    assert (padded[12:] == 100).all()


def test_crop_keeps_the_aspect_and_cuts_the_middle():
    image = np.zeros((8, 24, 1), np.uint8)
    image[:, 8:16] = 200
    assert (fit_size(image, 8, 8, "crop") == 200).all()


def test_stretch_ignores_the_aspect():
    image = np.zeros((8, 32, 1), np.uint8)
    image[:, 16:] = 255
    stretched = fit_size(image, 8, 8, "stretch")
    assert (stretched[:, :3] < 30).all()
    assert (stretched[:, 5:] > 225).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shrinking_averages_instead_of_picking_pixels(dtype):
    whole = 255 if dtype == np.uint8 else 1
    board = ((np.indices((64, 64)).sum(axis=0) % 2) * whole).astype(dtype)[..., np.newaxis]
    middle = fit_size(board, 16, 16)[2:-2, 2:-2]
    assert np.abs(middle - whole / 2).max() < 0.02 * whole


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_color_of_transparent_pixels_does_not_bleed(dtype):
    whole = 255 if dtype == np.uint8 else 1
    image = np.zeros((32, 32, 4), dtype)
    image[:, 16:] = (whole, 0, 0, whole)
    image[:, :16, 1] = whole
    resized = fit_size(image, 15, 15)
    visible = resized[resized[..., 3] > whole / 10]
    assert (visible[:, 0] > 0.95 * whole).all()
    assert (visible[:, 1] < 0.05 * whole).all()


def test_a_sliver_can_be_padded():
    assert fit_size(np.zeros((8, 4000, 3), np.uint8), 16, 16, "pad").shape == (16, 16, 3)


@given(
    image=arrays.arrays(np.uint8, (8, 9, 1)),
    way=st.lists(st.sampled_from([1, 3, 4]), max_size=5),
)
def test_gray_survives_every_way_through_the_channels(image, way):
    there = image
    for channels in way:
        there = fit_channels(there, channels)
        assert there.shape == (8, 9, channels)
        assert there.dtype == np.uint8
    assert np.array_equal(fit_channels(there, 1), image)


@given(arrays.arrays(np.float32, (8, 8, 3), elements=st.floats(0, 1, width=32)))
def test_opaque_alpha_comes_and_goes_without_a_trace(image):
    assert np.array_equal(fit_channels(fit_channels(image, 4), 3), image)


def test_alpha_is_composited_on_white():
    image = np.zeros((8, 8, 4), np.uint8)
    image[:4, :, 3] = 255
    image[4:, :, 3] = 51
    assert (fit_channels(image, 3)[:4] == 0).all()
    assert (fit_channels(image, 3)[4:] == 204).all()
    assert (fit_channels(image / np.float32(255), 1)[4:] == np.float32(0.8)).all()


def test_gray_is_the_luma_of_the_color():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 1] = 255
    assert (fit_channels(image, 1) == 150).all()


@pytest.mark.parametrize(
    "size", [7, 0, -1, 16385, 2.5, "32", None, (8,), (8, 8, 8), (8, 7), (8, "a")]
)
def test_a_size_outside_its_range_is_refused(size):
    with pytest.raises(ParameterError, match=r"size must be one whole number.*received .*Pass for"):
        check_size(size)


def test_one_number_stands_for_both_sides():
    assert check_size(np.int64(9)) == (9, 9)
    assert check_size([8, 10]) == (8, 10)


@pytest.mark.parametrize("channels", [0, 2, 5, True, "3", None, 3.5])
def test_channels_outside_their_range_are_refused(channels):
    with pytest.raises(ParameterError, match=r"channels must be 1 .*received .*Pass one of these"):
        check_channels(channels)


def test_an_unknown_fit_is_refused():
    with pytest.raises(ParameterError, match="fit must be one of pad, crop, stretch; received 'x'"):
        fit_size(np.zeros((8, 8, 1), np.uint8), 9, 9, "x")
