import io

import numpy as np
import pytest
from PIL import Image

from convae.report.figures import comparison, gallery, loss_curve, overlay

HISTORY = [
    {"epoch": 1, "loss": 0.2, "val_loss": None, "learning_rate": 1e-3, "elapsed_s": 1.0},
    {"epoch": 2, "loss": 0.1, "val_loss": None, "learning_rate": 1e-3, "elapsed_s": 1.0},
]


def errors(originals):
    return np.zeros(len(originals))


def dark(sheet):
    """Where there is ink or a dark tile."""
    return (sheet < 128).all(axis=2)


def test_a_comparison_of_mnist_is_280_by_56(random_images):
    originals, rebuilt = random_images(12, 28, 28, 1), random_images(12, 28, 28, 1, seed=1)
    picture = comparison(originals, rebuilt)
    assert (picture.shape, picture.dtype) == ((280, 56, 1), np.uint8)


@pytest.mark.parametrize("shape", [(10, 28, 28, 1), (12, 9, 13, 3), (3, 8, 8, 4), (1, 30, 8, 1)])
def test_a_comparison_has_originals_left_and_reconstructions_right(random_images, shape):
    originals, rebuilt = random_images(*shape), random_images(*shape, seed=1)
    picture = comparison(originals, rebuilt)
    count, (height, width) = min(shape[0], 10), shape[1:3]
    assert picture.shape == (count * height, 2 * width, shape[3])
    for index in range(count):
        row = picture[index * height : (index + 1) * height]
        np.testing.assert_array_equal(row[:, :width], originals[index])
        np.testing.assert_array_equal(row[:, width:], rebuilt[index])


def test_a_gallery_shows_original_reconstruction_and_difference():
    originals = np.full((1, 64, 64, 1), 200, np.uint8)
    rebuilt = np.full((1, 64, 64, 1), 170, np.uint8)
    sheet = gallery(originals, rebuilt, errors(originals), ["name"])
    assert (sheet.ndim, sheet.dtype, sheet.shape[2]) == (3, np.uint8, 3)
    row = sheet[36, :, 0]
    for value in (200, 170, 255 - 30):
        assert np.count_nonzero(row == value) == 64
    assert list(row).index(200) < list(row).index(170) < list(row).index(225)


def test_a_gallery_of_equal_images_shows_white_differences_and_opposites_black():
    black, white = np.zeros((1, 64, 64, 3), np.uint8), np.full((1, 64, 64, 3), 255, np.uint8)
    # A caption would be dark, too.
    assert np.count_nonzero(dark(gallery(white, white, errors(white), [""]))[:68]) == 0
    assert np.count_nonzero(dark(gallery(white, black, errors(white), [""]))[:68]) == 2 * 64 * 64


def test_a_gallery_shows_alpha_on_white():
    hidden = np.zeros((1, 64, 64, 4), np.uint8)
    assert not dark(gallery(hidden, hidden, errors(hidden), [""]))[:68].any()


def test_a_gallery_writes_a_name_and_an_error_below_each_image():
    white = np.full((1, 64, 64, 1), 255, np.uint8)
    unnamed = gallery(white, white, np.array([0.5]), [""])
    named = gallery(white, white, np.array([0.5]), ["name"])
    other = gallery(white, white, np.array([0.25]), ["name"])
    assert dark(named).sum() > dark(unnamed).sum() > 0
    assert (named != other).any()


@pytest.mark.parametrize(
    "name",
    [
        "a" * 5000,
        "line\nbreak",
        "tab\t\x1b[2J",
        "bytes \udcff",
        "日本 ü",
        "a/b/c.png",
        "\u202e",
        "",
    ],
)
def test_every_file_name_can_be_a_caption(name):
    white = np.full((2, 8, 8, 1), 255, np.uint8)
    sheet = gallery(white, white, errors(white), [name, "second"])
    plain = gallery(white, white, errors(white), ["first", "second"])
    assert sheet.shape == plain.shape


def test_a_long_name_loses_its_beginning():
    white = np.full((1, 64, 64, 1), 255, np.uint8)
    ending = "x" * 100 + "/ending.png"
    np.testing.assert_array_equal(
        gallery(white, white, errors(white), ["first" + ending]),
        gallery(white, white, errors(white), ["other" + ending]),
    )
    long, other = (["x" * 5000 + letter] for letter in "ab")
    assert (gallery(white, white, errors(white), long) != gallery(white, white, [0], other)).any()


@pytest.mark.parametrize(
    ("side", "tile"), [(8, 64), (28, 56), (64, 64), (100, 100), (128, 128), (129, 128), (3000, 128)]
)
def test_tiles_are_enlarged_by_whole_numbers_or_reduced(side, tile):
    black = np.zeros((1, side, side, 1), np.uint8)
    row = dark(gallery(black, black, errors(black), [""]))[6]
    assert np.count_nonzero(row) == 2 * tile


def test_a_narrow_image_keeps_its_aspect():
    black = np.zeros((1, 1000, 8, 1), np.uint8)
    ink = dark(gallery(black, black, errors(black), [""]))
    assert np.count_nonzero(ink[6]) == 2 * 1
    assert np.count_nonzero(ink[:, 4]) >= 128


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 4), (9, 3, 4)])
def test_a_gallery_has_four_columns(count, rows, columns):
    black = np.zeros((count, 64, 64, 1), np.uint8)
    sheet = gallery(black, black, errors(black), [""] * count)
    one = gallery(black[:1], black[:1], errors(black[:1]), [""])
    assert (sheet.shape[0] - 4, sheet.shape[1] - 4) == (
        rows * (one.shape[0] - 4),
        columns * (one.shape[1] - 4),
    )


def test_equal_histories_give_equal_pngs():
    curve = loss_curve(HISTORY)
    assert curve == loss_curve([dict(record) for record in HISTORY])
    with Image.open(io.BytesIO(curve)) as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", (768, 480))
        assert "Software" not in picture.info


def test_other_losses_give_another_curve_and_validation_a_second_one():
    validated = [{**record, "val_loss": record["loss"] + 0.1} for record in HISTORY]
    lower = [{**record, "loss": record["loss"] * record["epoch"]} for record in HISTORY]
    assert len({loss_curve(HISTORY), loss_curve(validated), loss_curve(lower)}) == 3


def test_a_single_epoch_and_the_history_of_a_model_file_have_a_curve():
    assert loss_curve(HISTORY[:1]).startswith(b"\x89PNG")
    assert loss_curve([{**HISTORY[0], "elapsed_s": None}]) == loss_curve(HISTORY[:1])


def test_an_overlay_is_redder_where_there_is_more_heat_and_hides_nothing():
    original = np.full((40, 40, 1), 100, np.uint8)
    original[:, 20:] = 200
    heat = np.zeros((40, 40), np.float32)
    heat[10:20], heat[20:30], heat[30:] = 1.01, 2, 1000
    picture = overlay(original, heat, original)
    assert picture.dtype == np.uint8
    tile_height, tile_width = picture.shape[0], (picture.shape[1] - 8) // 3
    middle = picture[:, (picture.shape[1] - tile_width) // 2 :][:, :tile_width].astype(int)
    rows = [tile_height * (5 + 10 * part) // 40 for part in range(4)]
    dark, light = ([middle[row, tile_width * part // 4] for row in rows] for part in (1, 3))
    redness = [red - blue for red, _, blue in dark]
    assert redness[0] == 0
    assert redness == sorted(redness)
    assert len(set(redness)) == 4
    assert all((bright[1:] - dull[1:] > 25).all() for bright, dull in zip(light, dark, strict=True))
