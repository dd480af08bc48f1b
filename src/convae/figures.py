"""The pictures that a training and a reconstruction leave; they are returned as arrays or bytes."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Uint8 = NDArray[np.uint8]

COMPARED = 10
GALLERY_SIDE = 64
GALLERY_COLUMNS = 4
_GAP = 4
_CAPTION = 14
_PAPER, _INK = 255, 40


def comparison(originals: Uint8, reconstructions: Uint8) -> Uint8:
    """Originals in the left column, reconstructions in the right, one row an image.

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
        names: A caption for each image; long ones lose their beginning.

    Returns:
        uint8 `(height, width, 3)`. A difference is shown as its size in the strongest channel:
        white where equal, black where a pixel is off by its whole range.
    """
    _, height, width, _ = originals.shape
    scale = max(1, round(GALLERY_SIDE / max(height, width)))
    tile_height, tile_width = height * scale, width * scale
    cell_width = 3 * tile_width + 2 * _GAP
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
            picture = to_picture(tile).convert("RGB")
            picture = picture.resize((tile_width, tile_height), Image.Resampling.NEAREST)
            sheet.paste(picture, (left + column * (tile_width + _GAP), top))
        name = names[index]
        while name and draw.textlength(name, font) > cell_width:
            name = name[1:]
        captions = (name, f"MSE {errors[index]:.5f}")
        for line, caption in enumerate(captions):
            place = (left, top + tile_height + line * (_CAPTION - 1))
            draw.text(place, caption, fill=(_INK,) * 3, font=font)
    return np.asarray(sheet)


def to_picture(image: Uint8) -> Image.Image:
    """A Pillow picture of a uint8 image `(height, width, channels)` with 1, 3 or 4 channels."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def loss_curve(history: Sequence[dict[str, Any]]) -> bytes:
    """A PNG of the losses over the epochs.

    Args:
        history: A record for each epoch with `epoch`, `loss` and `val_loss` (None without
            validation images), as in `ConvAutoencoder.history_`.
    """
    # The object interface, which touches neither a screen nor anyone's pyplot state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    epochs = [record["epoch"] for record in history]
    style: dict[str, Any] = {"marker": "o", "markersize": 3}
    axes.plot(epochs, [record["loss"] for record in history], label="training", **style)
    if history and history[0]["val_loss"] is not None:
        axes.plot(epochs, [record["val_loss"] for record in history], label="validation", **style)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.BytesIO()
    # Without the library's name in the file, equal histories give equal bytes.
    FigureCanvasAgg(figure).print_figure(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()
