import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coders import random_model, smooth_images
from hypothesis import given, settings
from hypothesis import strategies as st

from convae.coding.lossless import PlaneCoding, decode_planes, encode_planes
from convae.coding.prediction import relative
from convae.coding.waves import OFFSETS, Canvas, Wave
from convae.errors import ParameterError

GOLDEN = "7917641340615f98193cfab9b61ba502e01d416e41d1b6ac6142ca4a44d008e9"
GOLDEN_BY_DISTANCE = "144f9cc2b72f902db4f73189cf77374e71e0b2a75039d6f001b5e192240d80b1"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 4),
    num_streams=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    num_planes=st.integers(1, 4),
    num_lanes=st.integers(1, 9),
    distances=st.integers(0, 15),
    deep=st.booleans(),
)
def test_what_is_encoded_is_decoded(
    seed, num_images, num_streams, height, width, num_planes, num_lanes, distances, deep
):
    planes = smooth_images(num_images * num_streams, height, width, num_planes, seed=seed)
    by_distance = [plane for plane in range(num_planes) if distances >> plane & 1]
    bits = 16 if deep and num_planes % 2 == 0 else 8
    networks = random_model(num_planes, bits, by_distance=by_distance).networks
    coding = PlaneCoding(networks, bits // 8)
    streams = encode_planes(planes, coding, num_lanes, num_streams)
    shape = num_images, height, width
    np.testing.assert_array_equal(decode_planes(streams, shape, coding, num_lanes), planes)
    # Streams have nothing to do with each other.
    last = decode_planes(streams[-1:], shape, coding, num_lanes)
    np.testing.assert_array_equal(last, planes[-num_images:])


@pytest.mark.parametrize("step", [3, 5, 13, 33, 255])
@pytest.mark.parametrize("by_distance", [(), (0, 1)])
@pytest.mark.parametrize("bytes_a_value", [1, 2])
def test_with_a_step_its_multiples_and_the_largest_value_are_decoded(
    step, by_distance, bytes_a_value
):
    largest = 256**bytes_a_value - 1
    values = np.random.default_rng(step).integers(0, largest + step, (2, 9, 9)) // step * step
    values[0, 0] = largest
    values = np.minimum(values, largest)
    planes = np.stack(
        [values >> 8 * (bytes_a_value - 1 - index) & 255 for index in range(bytes_a_value)],
        axis=-1,
    ).astype(np.uint8)
    model = random_model(bytes_a_value, 8 * bytes_a_value, by_distance=by_distance)
    coding = PlaneCoding(model.networks, bytes_a_value, step)
    streams = encode_planes(planes, coding, 2)
    np.testing.assert_array_equal(decode_planes(streams, (2, 9, 9), coding, 2), planes)
    exact = encode_planes(planes, PlaneCoding(coding.networks, bytes_a_value), 2)
    assert len(streams[0]) < len(exact[0])


@pytest.mark.parametrize("step", [3, 5, 13, 33, 255])
def test_by_distance_a_step_allows_the_same_values(step):
    values = np.random.default_rng(step).integers(0, 255 + step, (2, 9, 9, 3)) // step * step
    planes = np.minimum(values, 255).astype(np.uint8)
    networks = random_model(3, by_distance=[0, 1, 2]).networks
    streams = encode_planes(planes, PlaneCoding(networks, step=step), 2)
    found = decode_planes(streams, (2, 9, 9), PlaneCoding(networks, step=step), 2)
    np.testing.assert_array_equal(found, planes)
    exact = encode_planes(planes, PlaneCoding(networks), 2)
    assert len(streams[0]) < len(exact[0])


def test_by_distance_an_offset_of_all_bytes_changes_little():
    images = smooth_images(8, 16, 16, 1, seed=5) // 4
    model = random_model(by_distance=[0])
    assert model.networks[0].by_distance
    hidden = []
    for brightness in (40, 140):
        canvas = Canvas.of(images + np.uint8(brightness))
        # Inside the image, where no margin tells the brightness.
        inputs = np.zeros((1, len(OFFSETS) + 1, 8), np.uint8)
        wave = Wave(np.array([8]), np.array([8]))
        inputs[0, :-1] = canvas.windows(canvas.places(wave))[0, :, 0]
        hidden.append(relative(inputs, 0, 8)[0, :-1])
    np.testing.assert_array_equal(*hidden)


@pytest.mark.parametrize(("by_distance", "golden"), [((), GOLDEN), ((0, 2), GOLDEN_BY_DISTANCE)])
def test_the_bytes_are_always_these_in_any_thread(by_distance, golden):
    planes = smooth_images(5, 11, 13, 3, seed=1)
    coding = PlaneCoding(random_model(3, by_distance=by_distance).networks)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: encode_planes(planes, coding, 4), range(6)))
    assert {hashlib.sha256(data).hexdigest() for (data,) in found} == {golden}


def test_threads_share_the_work_and_give_the_same(monkeypatch):
    monkeypatch.setattr("convae.coding.lossless.PIXELS_AT_A_TIME", 7)
    planes = smooth_images(5, 11, 13, 3, seed=1)
    coding = PlaneCoding(random_model(3).networks)
    with ThreadPoolExecutor(3) as pool:
        streams = encode_planes(planes, coding, 4, run=pool.map)
        decoded = decode_planes(streams, (5, 11, 13), coding, 4, pool.map)
    assert [hashlib.sha256(data).hexdigest() for data in streams] == [GOLDEN]
    np.testing.assert_array_equal(decoded, planes)


def test_damage_is_refused_or_gives_other_pixels_but_never_fails_otherwise():
    planes = smooth_images(2, 8, 8, 1)
    coding = PlaneCoding(random_model().networks)
    (data,) = encode_planes(planes, coding, 2)
    refused = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        try:
            decoded = decode_planes([bytes(changed)], (2, 8, 8), coding, 2)
        except ParameterError:
            refused += 1
        else:
            assert decoded.shape == planes.shape
    assert refused > len(data) / 2
