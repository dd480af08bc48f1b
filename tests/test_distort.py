import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import map_coordinates

from convae.images.distortion import LIT, WARPED, Distortion, Moves, sources
from convae.nn.backend import keras
from convae.nn.distort import distort


def distorted(images, moves, distortion):
    to_tensor = keras.ops.convert_to_tensor
    fields = to_tensor(distortion.fields(*images.shape[1:3]))
    found = distort(to_tensor(images), Moves(*map(to_tensor, moves)), fields)
    return keras.ops.convert_to_numpy(found)


def unlit(places, channels):
    return Moves(places, np.zeros((len(places), channels), np.float32))


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 11, 1), (9, 8, 3)])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_each_image_is_moved_by_its_own_offset_and_its_edge_drawn_out(
    data, height, width, channels
):
    images = np.random.default_rng(0).random((3, height, width, channels), dtype=np.float32)
    offsets = data.draw(hnp.arrays(np.float32, (3, 2), elements=st.integers(-7, 7)))
    moves = unlit(np.stack([np.zeros_like(offsets), offsets], axis=2), channels)
    for image, (down, right), result in zip(
        images, offsets.astype(int), distorted(images, moves, Distortion(7)), strict=True
    ):
        padded = np.pad(image, ((7, 7), (7, 7), (0, 0)), mode="edge")
        window = padded[7 - down : 7 - down + height, 7 - right : 7 - right + width]
        np.testing.assert_array_equal(result, window)


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ("horizontal", lambda images: images[:, :, ::-1]),
        ("vertical", lambda images: images[:, ::-1]),
        ("both", lambda images: images[:, ::-1, ::-1]),
    ],
)
def test_a_flip_changes_sides_to_the_bit(flip, expected):
    images = np.random.default_rng(0).random((4, 9, 12, 3), dtype=np.float32)
    distortion = Distortion(flip=flip)
    moves = distortion.draw(4, (9, 12, 3), np.random.default_rng(0), always=True)
    np.testing.assert_array_equal(distorted(images, moves, distortion), expected(images))


def test_a_warp_mixes_pixels_as_scipy_does():
    images = np.random.default_rng(0).random((5, 17, 12, 2), dtype=np.float32)
    distortion = Distortion(translation=2, warp=1.5, flip="both")
    moves = distortion.draw(5, (17, 12, 2), np.random.default_rng(1), always=True)
    places = np.stack(sources(np, moves.places, distortion.fields(17, 12), 17, 12), axis=1)
    expected = [
        [map_coordinates(image[..., channel], place, order=1) for channel in range(2)]
        for image, place in zip(images, places, strict=True)
    ]
    found = distorted(images, moves, distortion)
    np.testing.assert_allclose(found, np.moveaxis(expected, 1, 3), atol=1e-5)
    assert np.abs(found - images).mean() > 0.1


def test_a_turn_turns():
    """A line from left to right leans after it, as far as the angle says."""
    distortion = Distortion(warp=1.0)
    places = np.zeros((1, 2, 1 + len(distortion.fields(33, 33))), np.float32)
    angle = 0.2
    places[0, 0, 3], places[0, 1, 2] = angle * 16, -angle * 16
    images = np.zeros((1, 33, 33, 1), np.float32)
    images[:, 16] = 1
    (found,) = distorted(images, unlit(places, 1), distortion)[..., 0]
    rows = (found * np.arange(33)[:, None]).sum(axis=0) / found.sum(axis=0)
    slope = np.polyfit(np.arange(8, 25), rows[8:25], 1)[0]
    assert slope == pytest.approx(angle, abs=0.02)


def test_what_is_drawn_is_as_often_and_as_far_as_is_said():
    distortion = Distortion(translation=2, warp=1.0, flip="horizontal")
    moves, lights = distortion.draw(4000, (28, 28, 1), np.random.default_rng(0))
    assert not lights.any()
    assert set(np.unique(moves[:, :, 1])) == {-2, -1, 0, 1, 2}
    assert not moves[:, 0, 0].any()
    assert moves[:, 1, 0].mean() == pytest.approx(0.5, abs=0.03)
    warped = moves[:, :, 2:].any(axis=(1, 2))
    assert warped.mean() == pytest.approx(WARPED, abs=0.03)
    # A turn of 6 degrees moves the end of a row by a tenth of half the side, some 1.5 pixels.
    assert moves[warped, 0, 3].std() == pytest.approx(0.105 * 14, rel=0.1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_brightness_is_added_to_all_colors_and_a_tint_to_each(channels):
    distortion = Distortion(brightness=0.1, tint=0.05)
    places, lights = distortion.draw(8000, (8, 8, channels), np.random.default_rng(0))
    assert not places.any()
    lit = lights.any(axis=1)
    assert lit.mean() == pytest.approx(LIT, abs=0.03)
    lights = lights[lit]
    colors = lights[:, :3]
    tint = 0.05 if channels > 1 else 0
    assert colors.std() == pytest.approx(np.hypot(0.1, tint), rel=0.05)
    # The root of the unbiased variance of the colors of an image.
    assert np.sqrt((3 / 2) * colors.var(axis=1).mean()) == pytest.approx(tint, rel=0.05)
    assert not lights[:, 3:].any()  # opacity


def test_light_moves_no_pixel_and_leaves_no_range():
    images = np.random.default_rng(0).random((3, 9, 8, 3), dtype=np.float32)
    lights = np.array([[0.1, 0, -0.2], [0, 0, 0], [2, -2, 0.5]], np.float32)
    moves = Moves(np.zeros((3, 2, 2), np.float32), lights)
    found = distorted(images, moves, Distortion(brightness=1))
    np.testing.assert_allclose(found, np.clip(images + lights[:, None, None], 0, 1), atol=1e-7)
    np.testing.assert_array_equal(found[1], images[1])


def test_no_distortion_is_false_and_each_is_true():
    assert not Distortion()
    assert all((Distortion(1), Distortion(warp=0.1), Distortion(flip="both"), Distortion(tint=0.1)))
