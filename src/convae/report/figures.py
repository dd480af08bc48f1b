"""The pictures that a training and a reconstruction leave; they are returned as arrays or bytes."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from convae.images.resize import fit_channels
from convae.report.chart import line_chart
from convae.storage.files import printable

Uint8 = NDArray[np.uint8]

COMPARED = 10
# Small images are enlarged to about the first, large ones reduced to the second: a thousand of any
# size make a picture of at most 200 MB.
GALLERY_SIDE = 64
LARGEST_TILE = 128
GALLERY_COLUMNS = 4
_GAP = 4
_CAPTION = 14
_NARROWEST_CELL = 76  # holds "MSE 0.12345"
_PAPER, _INK = 255, 40
_RED = (230, 0, 30)
# Opacity of red over a picture where the heat is 1, and the largest: the picture must stay visible.
_FAINTEST, _STRONGEST, _BY_DOUBLING = 0.3, 0.7, 0.2


def comparison(originals: Uint8, reconstructions: Uint8) -> Uint8:
    """Originals in the left column, reconstructions in the right, one row per image.

    Args:
        originals: uint8 `(num_images, height, width, channels)`; the first ten are shown.
        reconstructions: uint8, the same shape.

    Returns:
        uint8 `(rows * height, 2 * width, channels)`: 280 x 56 x 1 for ten images of MNIST.
    """
    pairs = np.concatenate([originals[:COMPARED], reconstructions[:COMPARED]], axis=2)
    return pairs.reshape(-1, *pairs.shape[2:])


def gallery(
    originals: Uint8, reconstructions: Uint8, errors: NDArray[np.float64], names: Sequence[str]
) -> Uint8:
    """Each image with its reconstruction, the difference between them and the error in figures.

    Args:
        originals: uint8 `(num_images, height, width, channels)`.
        reconstructions: uint8, the same shape.
        errors: Mean squared error of each image, `(num_images,)`.
        names: A caption for each image; long ones lose their beginning, and characters that
            cannot be printed become question marks.

    Returns:
        uint8 `(height, width, 3)`. A difference is shown as its size in the strongest channel:
        white where equal, black where a pixel is off by its whole range. Alpha is composited on
        white.
    """
    tile_height, tile_width, filter_ = _tile(*originals.shape[1:3])
    cell_width = max(3 * tile_width + 2 * _GAP, _NARROWEST_CELL)
    cell_height = tile_height + 2 * _CAPTION
    rows = -(-len(originals) // GALLERY_COLUMNS)
    columns = min(len(originals), GALLERY_COLUMNS)
    sheet = Image.new(
        "RGB",
        (columns * (cell_width + 3 * _GAP) + _GAP, rows * (cell_height + 2 * _GAP) + _GAP),
        (_PAPER,) * 3,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for index, (original, rebuilt) in enumerate(zip(originals, reconstructions, strict=True)):
        left = _GAP + index % GALLERY_COLUMNS * (cell_width + 3 * _GAP)
        top = _GAP + index // GALLERY_COLUMNS * (cell_height + 2 * _GAP)
        off = np.abs(original.astype(np.int16) - rebuilt).max(axis=2, keepdims=True)
        for column, tile in enumerate((original, rebuilt, (255 - off).astype(np.uint8))):
            picture = Image.fromarray(fit_channels(tile, 3))
            picture = picture.resize((tile_width, tile_height), filter_)
            sheet.paste(picture, (left + column * (tile_width + _GAP), top))
        name = _shortened(names[index], cell_width, font)
        captions = (name, f"MSE {errors[index]:.5f}")
        for line, caption in enumerate(captions):
            place = (left, top + tile_height + line * (_CAPTION - 1))
            draw.text(place, caption, fill=(_INK,) * 3, font=font)
    return np.asarray(sheet)


def mosaic(images: Uint8, columns: int = 0) -> Uint8:
    """Images side by side, row by row.

    Args:
        images: uint8 `(num_images, height, width, channels)`.
        columns: Images in a row; 0 makes it about square.

    Returns:
        uint8 `(height, width, 3)`, enlarged or reduced as in `gallery`. Alpha is composited on
        white.
    """
    tile_height, tile_width, filter_ = _tile(*images.shape[1:3])
    columns = columns or math.ceil(math.sqrt(len(images)))
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    size = columns * (tile_width + _GAP) - _GAP, rows * (tile_height + _GAP) - _GAP
    sheet = Image.new("RGB", size, (_PAPER,) * 3)
    for index, image in enumerate(images):
        picture = Image.fromarray(fit_channels(image, 3)).resize((tile_width, tile_height), filter_)
        row, column = divmod(index, columns)
        sheet.paste(picture, (column * (tile_width + _GAP), row * (tile_height + _GAP)))
    return np.asarray(sheet)


def overlay(original: Uint8, heat: NDArray[np.float32], restored: Uint8) -> Uint8:
    """An image, the same with its heat in red, and the normal image that comes nearest.

    Args:
        original: uint8 `(height, width, channels)`.
        heat: float32 `(height, width)`, as in `AnomalyDetector.heat_maps`: 0, or above 1.
        restored: uint8, as `original`.

    Returns:
        uint8 `(height, width, 3)`, enlarged or reduced as in `gallery`. Red is strongest where the
        heat is 4 or more, and never hides the picture. Alpha is composited on white.
    """
    tile_height, tile_width, filter_ = _tile(*original.shape[:2])
    plain = fit_channels(original, 3)
    strength = _FAINTEST + _BY_DOUBLING * np.log2(np.maximum(heat, 1))
    share = np.where(heat > 0, np.minimum(strength, _STRONGEST), 0)[..., np.newaxis]
    marked = np.rint(plain * (1 - share) + np.array(_RED) * share).astype(np.uint8)
    sheet = Image.new("RGB", (3 * tile_width + 2 * _GAP, tile_height), (_PAPER,) * 3)
    for column, tile in enumerate((plain, marked, fit_channels(restored, 3))):
        picture = Image.fromarray(tile).resize((tile_width, tile_height), filter_)
        sheet.paste(picture, (column * (tile_width + _GAP), 0))
    return np.asarray(sheet)


def _shortened(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a name that is at most `width` pixels long."""
    # A name may hold a line break, which has no length, or bytes that are no text; and measuring
    # takes long, but no glyph is narrower than a pixel.
    name = printable(name[-width:])
    starts = range(len(name))
    return name[bisect_left(starts, True, key=lambda i: font.getlength(name[i:]) <= width) :]


def _tile(height: int, width: int) -> tuple[int, int, Image.Resampling]:
    """Height and width of a tile, and the filter that makes it."""
    longer = max(height, width)
    if longer > LARGEST_TILE:
        scale = LARGEST_TILE / longer
        sides = (max(1, round(height * scale)), max(1, round(width * scale)))
        return *sides, Image.Resampling.BOX
    whole = max(1, round(GALLERY_SIDE / longer))
    return height * whole, width * whole, Image.Resampling.NEAREST


def loss_curve(history: Sequence[dict[str, Any]]) -> bytes:
    """A PNG of the losses over the epochs.

    Args:
        history: A record for each epoch with `epoch`, `loss` and `val_loss` (None without
            validation images), as in `ConvAutoencoder.history_`.
    """
    lines = {"training": [record["loss"] for record in history]}
    if history[0]["val_loss"] is not None:
        lines["validation"] = [record["val_loss"] for record in history]
    return line_chart([record["epoch"] for record in history], lines, "epoch", "loss")
