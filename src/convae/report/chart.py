"""A line chart as PNG, drawn with Pillow: a plotting library would add a tenth to the install."""

import io
import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 768, 480
# Drawn twice as large and reduced, since Pillow's lines have hard edges.
_SCALE = 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 24, 56
_PAPER, _INK, _GRID = (255, 255, 255), (40, 40, 40), (222, 222, 222)
# Ends that differ by less, relative to the larger one, count as one.
CLOSE = 1e-7
_COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from at most `low` to at least `high`, at most `most` + 2 of them.

    Their step is 1, 2 or 5 times a power of ten.
    """
    largest = max(abs(low), abs(high))
    span = high - low
    if span <= CLOSE * largest:  # numbers of double precision would make no even steps
        span = largest or 1.0
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def line_chart(
    xs: Sequence[int], lines: Mapping[str, Sequence[float]], x_label: str, y_label: str
) -> bytes:
    """Draw one or more lines over whole numbers.

    Args:
        xs: Where the points stand, ascending; the same for all lines.
        lines: Finite values by name, as many as `xs` in each.
        x_label: What `xs` are.
        y_label: What the values are.

    Returns:
        A PNG of 768 x 480 pixels; equal input gives equal bytes.
    """
    size = (WIDTH * _SCALE, HEIGHT * _SCALE)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=13 * _SCALE)
    left, top = _LEFT * _SCALE, _TOP * _SCALE
    right, bottom = size[0] - _RIGHT * _SCALE, size[1] - _BOTTOM * _SCALE

    values = [value for line in lines.values() for value in line]
    y_ticks = ticks(min(values), max(values), 6)
    x_ticks = [tick for tick in ticks(xs[0], xs[-1], 10) if tick == int(tick)]
    x_low, x_high = min(xs[0], x_ticks[0]), max(xs[-1], x_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def write(spot: tuple[float, float], text: str, anchor: str) -> None:
        draw.text(spot, text, fill=_INK, font=font, anchor=anchor)

    for tick in y_ticks:
        _, y = place(x_low, tick)
        draw.line([(left, y), (right, y)], fill=_GRID, width=_SCALE)
        write((left - 8 * _SCALE, y), f"{tick:.6g}", "rm")
    for tick in x_ticks:
        x, _ = place(tick, y_ticks[0])
        draw.line([(x, top), (x, bottom)], fill=_GRID, width=_SCALE)
        write((x, bottom + 8 * _SCALE), f"{tick:.6g}", "mt")
    draw.rectangle((left, top, right, bottom), outline=_INK, width=_SCALE)
    write(((left + right) / 2, size[1] - 8 * _SCALE), x_label, "mb")
    write((left + 4 * _SCALE, top - 4 * _SCALE), y_label, "ls")
    for row, (name, line) in enumerate(lines.items()):
        color = _COLORS[row % len(_COLORS)]
        spots = [place(x, y) for x, y in zip(xs, line, strict=True)]
        draw.line(spots, fill=color, width=2 * _SCALE, joint="curve")
        for spot in spots:
            draw.circle(spot, 3 * _SCALE, fill=color)
        y = top + (16 + 20 * row) * _SCALE
        draw.line(
            [(right - 110 * _SCALE, y), (right - 86 * _SCALE, y)], fill=color, width=2 * _SCALE
        )
        write((right - 80 * _SCALE, y), name, "lm")
    stream = io.BytesIO()
    picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(stream, format="PNG")
    return stream.getvalue()
