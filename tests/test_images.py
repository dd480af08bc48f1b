import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convae import images
from convae.errors import ImageError
from convae.images import as_images, to_float, to_uint8

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=6)


def refused(array, text):
    with pytest.raises(ImageError) as caught:
        as_images(array)
    assert re.search(text, str(caught.value)), str(caught.value)


def test_every_public_name_can_be_imported():
    assert all(hasattr(images, name) for name in images.__all__)


def test_uint8_images_come_back_without_a_copy():
    array = np.zeros((3, 8, 9, 3), np.uint8)
    assert as_images(array) is array


def test_a_missing_channel_axis_is_added_as_a_view():
    array = np.zeros((3, 8, 9), np.uint8)
    checked = as_images(array)
    assert checked.shape == (3, 8, 9, 1)
    assert np.shares_memory(checked, array)


def test_a_memory_map_stays_a_memory_map(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 9), np.uint8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert isinstance(as_images(mapped), np.memmap)


def test_float32_images_come_back_without_a_copy():
    array = np.ones((3, 8, 9, 1), np.float32)
    assert np.shares_memory(as_images(array), array)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, ">f4", ">f8"])
def test_other_floats_become_float32_with_the_same_values(dtype):
    array = np.linspace(0, 1, 2 * 8 * 8).reshape(2, 8, 8, 1).astype(dtype)
    checked = as_images(array)
    assert checked.dtype == np.float32
    assert np.array_equal(checked, array.astype(np.float32))


def test_a_list_of_images_of_one_size_is_taken():
    assert as_images([np.zeros((8, 8), np.uint8)] * 3).shape == (3, 8, 8, 1)


def test_images_are_checked_in_chunks(monkeypatch):
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 100)
    array = np.random.default_rng(0).random((7, 8, 8, 1))
    assert np.array_equal(as_images(array), array.astype(np.float32))
    array[6, 0, 0, 0] = np.nan
    refused(array, r"index 6\. Replace these values")
    array[6, 0, 0, 0] = 9
    array[0, 0, 0, 0] = -3
    refused(array, r"received floats from -3 to 9\.")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_the_first_image_with_a_value_that_is_not_finite_is_named(value):
    array = np.zeros((5, 8, 8, 1))
    array[3, 4, 4, 0] = array[4, 0, 0, 0] = value
    refused(array, "must be finite; received NaN or infinity, first in the image at index 3")


@pytest.mark.parametrize(
    ("array", "text"),
    [
        ([np.zeros((8, 8)), np.zeros((8, 9))], r"one array.*received list.*Bring all images to"),
        ("images.npy", r"received <U10\. Read files with convae\.datasets\.load_dataset"),
        (None, r"received object\. Pass one numeric array"),
        ({"a": 1}, r"received object\. Pass one numeric array"),
        (np.zeros((2, 8, 8), np.complex64), r"received complex64\. Take the magnitude"),
        (np.zeros((2, 8, 8), bool), r"received bool\. Convert with array\.astype\('uint8'\) \* 25"),
        (np.zeros((2, 8, 8), np.uint16), r"received uint16\. Divide by 65535"),
        (np.zeros((2, 8, 8), np.int64), r"received int64\. Convert with array\.astype\('uint8'\)"),
        (np.zeros((2, 8, 8), "M8[s]"), r"received datetime64\[s\]\. Pass one numeric array"),
        (np.ma.zeros((2, 8, 8)), r"without a mask; received a masked array\. Fill it"),
        (np.zeros(()), r"num_images, height.*received the shape \(\)\. Reshape it"),
        (np.zeros((5, 784)), r"received the shape \(5, 784\)\. For flat rows.*\(-1, 28, 28, 1\)"),
        (np.zeros((30, 40)), r"received the shape \(30, 40\)\. For one gray image.*newaxis"),
        (np.zeros((3, 7)), r"received the shape \(3, 7\)\. Reshape it"),
        (np.zeros((1, 2, 8, 8, 3)), r"received the shape \(1, 2, 8, 8, 3\)\. Reshape it"),
        (np.zeros((0, 8, 8, 1)), r"at least one image; received the shape \(0, 8, 8, 1\)"),
        (np.zeros((2, 7, 9, 1)), r"8 pixels or more; received 7 x 9 in .* Enlarge or pad"),
        (np.zeros((2, 0, 9, 1)), r"8 pixels or more; received 0 x 9"),
        (np.zeros((32, 32, 3)), r"received 32 x 3 in .* For one image with channels.*newaxis"),
        (np.zeros((2, 8, 8, 2)), r"received 2 channels in the shape .* Keep or join planes"),
        (np.zeros((2, 8, 8, 0)), r"received 0 channels"),
        (np.zeros((2, 3, 32, 32)), r"received 32 channels.*channels first.*moveaxis\(array, 1, -1"),
        (np.full((2, 8, 8), 255.0), r"received floats from 255 to 255\. Divide by 255\."),
        (np.linspace(-1, 1, 128).reshape(2, 8, 8), r"from -1 to 1\. Bring \[-1, 1\] to \[0, 1\]"),
        (np.full((2, 8, 8), 1.001), r"received floats from 1\.001 to 1\.001\. Clip them"),
        (np.linspace(-9, 999, 128).reshape(2, 8, 8), r"from -9 to 999\. Scale them with"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_a_remedy(array, text):
    refused(array, text)


def test_an_array_like_that_fails_is_refused():
    class Device:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("still on the device")

    refused(Device(), r"received Device, which NumPy does not take.*still on the device")


@given(arrays.arrays(np.uint8, SHAPES))
def test_uint8_survives_the_way_through_float(pixels):
    floats = to_float(pixels)
    assert floats.dtype == np.float32
    assert floats.min() >= 0
    assert floats.max() <= 1
    assert np.array_equal(to_uint8(floats), pixels)


@given(arrays.arrays(np.float32, SHAPES, elements=st.floats(-2, 3, width=32)))
def test_to_uint8_rounds_and_clips(floats):
    expected = [min(max(round(float(value * np.float32(255))), 0), 255) for value in floats.flat]
    assert to_uint8(floats).ravel().tolist() == expected


def test_what_has_the_wanted_type_is_not_copied():
    pixels = np.zeros((1, 8, 8, 1), np.uint8)
    assert to_uint8(pixels) is pixels
    floats = np.zeros((1, 8, 8, 1), np.float32)
    assert to_float(floats) is floats
