"""What a byte is likely to be, from its neighbours, and what is near it, by the distance from that.

In photographs the same differences come at any brightness, so that a network which sees differences
learns from fewer images. The prediction is the median of the left neighbour, the upper one, and
their sum less the one between them (Weinberger, Seroussi and Sapiro, "The LOCO-I lossless image
compression algorithm", 2000); of a plane behind the first, that of its difference to the plane
before. All are integers.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.waves import NEAREST

Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]

LARGEST = 255
# Where a distance of 0 stands among the bytes: as an input, and as what is coded. There the
# distances from -8 to 7 share their high half.
INPUT_CENTRE, CODED_CENTRE = 128, 136
# Left, above, and between them.
_MEDIAN_OF = slice(NEAREST.index((-1, -1)) + 1)


def predict(inputs: Bytes, plane: int) -> Shorts:
    """The prediction of a plane's bytes.

    Args:
        inputs: uint8 `(num_planes, window and pixel, num_bytes)`, as the networks have them; of the
            planes before, the pixel itself is known.
        plane: Which plane is predicted.

    Returns:
        int16 `(num_bytes,)`, from 0 to 255.
    """
    near = inputs[plane, _MEDIAN_OF].astype(np.int16)
    if not plane:
        return _median(near)
    near -= inputs[plane - 1, _MEDIAN_OF]
    found = _median(near)
    found += inputs[plane - 1, -1]
    return np.clip(found, 0, LARGEST, out=found)


def relative(inputs: Bytes, plane: int) -> Bytes:
    """Inputs by their distance from what they are near.

    A window of the plane itself, and one of a plane behind it, are told from the plane's
    prediction, which stands in place of the pixel; one of a plane before it from its pixel, in
    place of which is the distance from its own prediction. Distances are cut to a byte.

    Args:
        inputs: As of `predict`.
        plane: Which plane is to be coded.

    Returns:
        uint8, of the same shape.
    """
    found = np.empty_like(inputs)
    for other, values in enumerate(inputs):
        if other < plane:
            centre = values[-1].astype(np.int16)
            pixel: Any = centre - predict(inputs, other) + INPUT_CENTRE
        else:
            near = values[_MEDIAN_OF].astype(np.int16)
            pixel = centre = _median(near) if other > plane else predict(inputs, plane)
        window = values[:-1] - centre
        window += INPUT_CENTRE
        found[other, :-1] = np.clip(window, 0, LARGEST, out=window)
        found[other, -1] = np.clip(pixel, 0, LARGEST)
    return found


def _median(near: Shorts) -> Shorts:
    """Of the left and the upper neighbour, and of their sum less the one between."""
    left, above, between = near
    found: Shorts = left + above - between
    return np.clip(found, np.minimum(left, above), np.maximum(left, above), out=found)
