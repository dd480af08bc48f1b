import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from convae.report.chart import line_chart, ticks

numbers = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-6)


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def blue(data):
    """Where the first line is."""
    pixels = picture(data)
    return np.argwhere((pixels[..., 2] - pixels[..., 0] > 100) & (pixels[..., 2] > 150))


@given(numbers, numbers, st.integers(2, 12))
@example(1e6, 999999.9999999999, 2)
@example(1e6, 1e6 - 1e-3, 12)
def test_ticks_are_few_round_and_reach_beyond_both_ends(one, two, most):
    low, high = sorted((one, two))
    marks = ticks(low, high, most)
    step = marks[1] - marks[0]
    assert 2 <= len(marks) <= most + 2
    assert marks[0] <= low + step * 1e-6
    assert marks[-1] >= high - step * 1e-6
    assert np.allclose(np.diff(marks), step)
    leading = float(f"{step:.12e}".split("e")[0])
    assert any(leading == pytest.approx(digit, rel=1e-6) for digit in (1, 2, 5, 10))


def test_a_falling_line_falls():
    data = line_chart([1, 2, 3, 4], {"loss": [0.4, 0.2, 0.1, 0.05]}, "epoch", "loss")
    assert picture(data).shape == (480, 768, 3)
    spots = blue(data)
    spots = spots[spots[:, 1] < 640]  # without the legend
    first, last = spots[spots[:, 1].argmin()], spots[spots[:, 1].argmax()]
    assert first[0] < last[0]


def test_equal_input_gives_equal_bytes_and_other_input_others():
    one, again, other = (
        line_chart([1, 2], {"loss": values}, "epoch", "loss")
        for values in ([1.0, 0.5], [1.0, 0.5], [1.0, 0.6])
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1], [0.0, 0.0], [1e-12, 1e12], [-3.0, -2.0]])
def test_any_line_can_be_drawn(values):
    data = line_chart(range(1, len(values) + 1), {"loss": values}, "epoch", "loss")
    assert len(blue(data)) > 20
