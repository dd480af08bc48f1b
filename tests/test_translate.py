import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convae.nn.backend import keras
from convae.nn.translate import translate

SIDES = st.integers(8, 11)


@settings(max_examples=30, deadline=None)
@given(st.data(), SIDES, SIDES, st.sampled_from([1, 3]))
def test_each_image_is_moved_by_its_own_offset_and_its_edge_drawn_out(
    data, height, width, channels
):
    images = np.random.default_rng(0).random((3, height, width, channels), dtype=np.float32)
    offsets = data.draw(hnp.arrays(np.int32, (3, 2), elements=st.integers(-7, 7)))
    moved = translate(keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(offsets))
    for image, (down, right), result in zip(
        images, offsets, keras.ops.convert_to_numpy(moved), strict=True
    ):
        padded = np.pad(image, ((7, 7), (7, 7), (0, 0)), mode="edge")
        window = padded[7 - down : 7 - down + height, 7 - right : 7 - right + width]
        np.testing.assert_array_equal(result, window)
