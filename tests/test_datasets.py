import gzip
import io
import os
import shutil
import struct
import sys
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import convae.datasets.arrays
from convae.datasets import load_dataset
from convae.errors import DataError, ImageError, MissingExtraError, OutputError, ParameterError
from convae.images import fit_channels, fit_size, memory, store_images, write_image

TRAIN = np.arange(4 * 9 * 10, dtype=np.uint32).reshape(4, 9, 10).astype(np.uint8)
TEST = TRAIN[:2][:, ::-1].copy()
LABELS = np.array([3, 1, 2, 0], np.uint8)


def refused(path, text, error=DataError, **settings):
    with pytest.raises(error, match=text) as caught:
        load_dataset(path, **settings)
    assert str(path) in str(caught.value)


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_digits_are_real_digits_with_a_fixed_split():
    digits = load_dataset("digits")
    assert digits.train.shape == (1500, 28, 28, 1)
    assert digits.test.shape == (297, 28, 28, 1)
    assert digits.train.dtype == digits.test.dtype == np.uint8
    assert digits.train_labels[:10].tolist() == list(range(10))
    assert digits.test_labels.shape == (297,)
    assert digits.train.max() == 255
    assert (digits.train[:, :4] == 0).all()
    assert (digits.train[:, 4:24, 4:24] > 128).any(axis=(1, 2, 3)).all()
    assert (digits.source, digits.paths, digits.skipped) == (
        "1,797 handwritten digits that ship with scikit-learn, enlarged from 8 x 8",
        None,
        (),
    )


def test_a_named_data_set_takes_a_size_and_channels():
    digits = load_dataset("digits", size=16, channels=3)
    assert digits.train.shape == (1500, 16, 16, 3)
    assert digits.test.shape == (297, 16, 16, 3)
    assert digits.num_resized == 1797


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "x_test", "y_train", "y_test"),
        ("train_images", "test_images", "train_labels", "test_labels"),
    ],
)
def test_npz_with_a_split_is_read(tmp_path, keys):
    values = (TRAIN, TEST, LABELS[:, np.newaxis], LABELS[:2])
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(keys, values, strict=True)))
    data = load_dataset(tmp_path / "a.npz")
    assert np.array_equal(data.train[..., 0], TRAIN)
    assert np.array_equal(data.test[..., 0], TEST)
    assert data.train_labels.tolist() == LABELS.tolist()
    assert data.test_labels.tolist() == LABELS[:2].tolist()
    assert (data.name, data.source) == (str(tmp_path / "a.npz"), str(tmp_path / "a.npz"))


@pytest.mark.parametrize("key", ["images", "whatever"])
def test_npz_with_one_array_is_read(tmp_path, key):
    np.savez(tmp_path / "a.npz", **{key: TRAIN})
    data = load_dataset(tmp_path / "a.npz")
    assert np.array_equal(data.train[..., 0], TRAIN)
    assert data.test is data.train_labels is data.test_labels is None


def test_npz_without_a_known_name_is_refused_with_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", b=TRAIN, a=TRAIN)
    refused(tmp_path / "a.npz", r"must hold x_train .* holds a, b\. Save it with numpy\.savez")
    with zipfile.ZipFile(tmp_path / "b.npz", "w"):
        pass
    refused(tmp_path / "b.npz", "holds nothing. Save it")


def test_npz_with_labels_for_other_images_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=TRAIN, labels=LABELS[:3])
    refused(tmp_path / "a.npz", r"one label for each image; .* of shape \(3,\) for 4 images\. Save")


def test_npz_whose_parts_differ_in_size_is_refused_until_a_size_is_given(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=TRAIN, x_test=TRAIN[:, :8])
    text = r"the same height.* has \(9, 10, 1\) and \(8, 10, 1\)\. Pass size"
    refused(tmp_path / "a.npz", text)
    data = load_dataset(tmp_path / "a.npz", size=(9, 10))
    assert data.num_resized == 4
    assert np.array_equal(data.train[..., 0], TRAIN)


def test_npz_outside_the_contract_is_refused_by_its_path(tmp_path):
    np.savez(tmp_path / "a.npz", images=TRAIN.astype(float))
    refused(tmp_path / "a.npz", r"a\.npz: Images must be uint8.*Divide by 255", ImageError)


def test_npz_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}], object))
    refused(tmp_path / "a.npz", "must be a .npz file of numeric arrays; reading it gave '.*Copy or")


def test_npz_that_would_unpack_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((1000, 32, 32), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 5000
    monkeypatch.setattr(memory, "memory_limit", lambda: 1_000_000)
    refused(tmp_path / "a.npz", r"half of this machine's memory.* would take 0\.0 GiB\. Save")


def test_npz_with_a_header_that_lies_is_refused(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 8, 8)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", stream.getvalue() + bytes(100))
    refused(tmp_path / "a.npz", "must be a .npz file of numeric arrays")


def test_a_small_npy_is_read_and_a_large_one_mapped(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", TRAIN)
    monkeypatch.setattr(convae.datasets.arrays, "MOST_READ_BYTES", TRAIN.nbytes)
    small = load_dataset(tmp_path / "a.npy").train
    monkeypatch.setattr(convae.datasets.arrays, "MOST_READ_BYTES", TRAIN.nbytes - 1)
    large = load_dataset(tmp_path / "a.npy").train
    assert (type(small), type(large)) == (np.ndarray, np.memmap)
    for images in (small, large):
        assert np.array_equal(images[..., 0], TRAIN)
    assert not large.flags.writeable


def test_a_large_npy_is_not_read_when_it_is_loaded(tmp_path):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": (10**8, 32, 32)}
        )
        stream.truncate(stream.tell() + 10**8 * 1024)  # a hundred gigabytes of nothing
    data = load_dataset(tmp_path / "a.npy")
    assert data.train.shape == (10**8, 32, 32, 1)
    assert (data.train[-1] == 0).all()


@pytest.mark.parametrize(
    "shape", [(10**12, 8, 8), (5, 9, 10), (2**32, 2**32), (2**40, 2**40, 0), (-1, 8, 8)]
)
def test_npy_with_a_header_that_lies_is_refused(tmp_path, shape):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        stream.write(TRAIN.tobytes())
    refused(tmp_path / "a.npy", "must be a .npy file with one numeric array; reading it gave")


def test_every_truncation_of_a_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", TRAIN)
    whole = (tmp_path / "a.npy").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        refused(tmp_path / "a.npy", "must be a .npy file with one numeric array; reading it gave")
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    refused(tmp_path / "a.npy", "gave 'its header promises 360 bytes, and it holds 359'. Copy")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_version_and_order_is_read(tmp_path, version, order):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, np.asarray(TRAIN, order=order), version)
    assert np.array_equal(load_dataset(tmp_path / "a.npy").train[..., 0], TRAIN)


def test_npy_that_is_a_pipe_or_is_a_folder_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    refused(tmp_path / "a.npy", "reading it gave 'it is a folder, a device or a pipe'")
    (tmp_path / "b.npy").mkdir()
    refused(tmp_path / "b.npy", "A folder of images must hold")


def test_npy_that_is_something_else_is_refused(tmp_path):
    text = "must be a .npy file with one numeric array; reading it gave '.*Copy or download"
    (tmp_path / "a.npy").write_text("no array")
    refused(tmp_path / "a.npy", text)
    np.savez(tmp_path / "a.npz", images=TRAIN)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    refused(tmp_path / "a.npy", text)
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object))
    refused(tmp_path / "a.npy", text)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (TRAIN.reshape(4, 90), r"a\.npy: Images must have the shape .*\(4, 90\)\. Reshape it"),
        (np.zeros((5, 784)), r"For flat rows, use array\.reshape\(-1, 28, 28, 1\)"),
        (np.zeros((5, 3, 9, 9), np.uint8), r"looks like channels first: use numpy\.moveaxis"),
    ],
)
def test_npy_outside_the_contract_is_refused_by_its_path(tmp_path, array, text):
    np.save(tmp_path / "a.npy", array)
    refused(tmp_path / "a.npy", text, ImageError)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_arrays_are_brought_to_a_wanted_size_one_by_one(tmp_path, fit):
    np.save(tmp_path / "a.npy", TRAIN)
    data = load_dataset(tmp_path / "a.npy", size=(12, 8), channels=3, fit=fit)
    expected = [fit_channels(fit_size(image[..., None], 12, 8, fit), 3) for image in TRAIN]
    assert np.array_equal(data.train, np.stack(expected))
    assert data.num_resized == 4


def test_changing_the_channels_alone_resizes_nothing(tmp_path):
    np.save(tmp_path / "a.npy", TRAIN)
    data = load_dataset(tmp_path / "a.npy", channels=4)
    assert data.train.shape == (4, 9, 10, 4)
    assert data.num_resized == 0


def test_arrays_too_large_for_the_memory_are_refused_before_they_are_made(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", TRAIN)
    monkeypatch.setattr(memory, "memory_limit", lambda: 4 * 16 * 16 - 1)
    refused(tmp_path / "a.npy", r"4 images of 16 x 16 from .*Choose a smaller size", size=16)


def test_floats_too_large_for_the_memory_are_refused_before_they_are_converted(
    tmp_path, monkeypatch
):
    np.save(tmp_path / "a.npy", TRAIN / 255)
    monkeypatch.setattr(memory, "memory_limit", lambda: 4 * 360 - 1)
    refused(
        tmp_path / "a.npy", r"a\.npy as float32 would take .* Save them as float32 or uint8, or"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("wanted", [{}, {"size": (12, 8), "channels": 3}, {"channels": 4}])
def test_a_store_holds_arrays_as_they_are_wanted(tmp_path, monkeypatch, dtype, wanted):
    array = TRAIN if dtype == np.uint8 else (TRAIN / 255).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    expected = load_dataset(tmp_path / "a.npy", **wanted)
    monkeypatch.setattr(memory, "memory_limit", lambda: 0)
    monkeypatch.setattr(memory, "CHUNK_VALUES", 2 * 9 * 10)
    steps = []
    data = load_dataset(
        tmp_path / "a.npy",
        **wanted,
        store=tmp_path / "b.npy",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert isinstance(data.train, np.memmap)
    for images in (data.train, load_dataset(tmp_path / "b.npy").train):
        assert images.dtype == expected.train.dtype
        assert np.array_equal(images, expected.train)
    assert data.num_resized == expected.num_resized
    assert steps == [(2, 4), (4, 4)]


def test_a_store_keeps_the_training_part_alone_with_its_labels_beside_it(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=TRAIN, x_test=TEST, y_train=LABELS, y_test=LABELS[:2])
    data = load_dataset(tmp_path / "a.npz", size=8, store=tmp_path / "b.npy")
    expected = load_dataset(tmp_path / "a.npz", size=8)
    assert isinstance(data.train, np.memmap)
    assert not isinstance(data.test, np.memmap)
    for name in ("train", "test", "train_labels", "test_labels"):
        assert np.array_equal(getattr(data, name), getattr(expected, name))
    assert data.num_resized == 6


def test_a_named_data_set_can_be_stored_too(tmp_path):
    digits = load_dataset("digits", store=tmp_path / "digits.npy")
    assert np.array_equal(digits.train, load_dataset("digits").train)
    assert np.array_equal(load_dataset(tmp_path / "digits.npy").train, digits.train)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x_train": TRAIN, "x_test": TEST[:, :8]}, r"must have the same height.*\(9, 10, 1\) and"),
        ({"images": TRAIN, "labels": LABELS[:3]}, "one label for each image"),
        (
            {"images": TRAIN * np.array([0, 0, 1, 0])[:, None, None] / 200},
            r"from image 0 on: Images",
        ),
        ({"images": np.ones((1, 6, 6))}, r"a\.npz: Height and width must be 8"),
        ({"images": np.ones((0, 9, 9))}, r"a\.npz: There must be at least one image"),
        ({"images": np.array(1.0)}, r"a\.npz: Images must have the shape"),
    ],
)
def test_arrays_that_cannot_be_used_leave_no_store(tmp_path, arrays, text):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises((DataError, ImageError), match=text):
        load_dataset(tmp_path / "a.npz", store=tmp_path / "b.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_store_in_place_of_the_data_is_refused(tmp_path):
    store_images([TRAIN], tmp_path / "a.npy")
    (tmp_path / "link.npy").symlink_to("a.npy")
    before = (tmp_path / "a.npy").read_bytes()
    for store in ("a.npy", "link.npy"):
        refused(
            tmp_path / "a.npy",
            r"The store must be another file than the data; .* for both\. Leave it out, since",
            ParameterError,
            store=tmp_path / store,
            size=8,
        )
    assert (tmp_path / "a.npy").read_bytes() == before


def test_arrays_that_the_disk_has_no_room_for_are_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", TRAIN / 255)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * 360 - 1))
    refused(
        tmp_path / "a.npy",
        r"free disk space; 4 images of 9 x 10 from .*Make room there",
        OutputError,
        store=tmp_path / "b.npy",
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * 360))
    assert load_dataset(tmp_path / "a.npy", store=tmp_path / "b.npy").train.nbytes == 4 * 360


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), *[st.integers(8, 12)] * 2)))
def test_idx_files_are_read_plain_and_packed(tmp_path_factory, array):
    folder = tmp_path_factory.mktemp("idx")
    (folder / "a-idx3-ubyte").write_bytes(idx(array))
    (folder / "b.idx3-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("a-idx3-ubyte", "b.idx3-ubyte.gz"):
        assert np.array_equal(load_dataset(folder / name).train[..., 0], array)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it begins with the bytes ''"),
        (b"\x89PNG....", "it begins with the bytes '89 50 4e 47'"),
        (b"\0\0\x0d\3" + bytes(12), "it begins with the bytes '00 00 0d 03'"),
        (b"\0\0\x08\3" + bytes(8), "it ends inside its header"),
        (idx(TRAIN)[:-1], "its header promises 360 bytes, (and it holds fewer|which it cannot)"),
        (idx(TRAIN) + b"x", "its header promises 360 bytes, and it holds more"),
        (b"\0\0\x08\3" + b"\xff" * 12, "its header promises 79,228,.* bytes, which it cannot hold"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, data, text, packed):
    path = tmp_path / ("a-ubyte.gz" if packed else "a-ubyte")
    path.write_bytes(gzip.compress(data) if packed else data)
    refused(path, f"must be an IDX file of unsigned bytes; reading it gave '{text}")


def test_every_truncation_of_a_packed_idx_file_is_refused(tmp_path):
    data = gzip.compress(idx(TRAIN))
    path = tmp_path / "a-ubyte.gz"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refused(path, "must be an IDX file")


def test_an_idx_file_is_never_unpacked_beyond_its_promise(tmp_path):
    path = tmp_path / "a-ubyte.gz"
    path.write_bytes(gzip.compress(idx(TRAIN) + bytes(50_000_000), 1))
    tracemalloc.start()
    refused(path, "its header promises 360 bytes, and it holds more")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_an_idx_file_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a-ubyte").write_bytes(idx(TRAIN))
    monkeypatch.setattr(memory, "memory_limit", lambda: 359)
    refused(tmp_path / "a-ubyte", "half of this machine's memory.*Save the images alone")


def test_a_folder_with_the_four_idx_files_is_read(tmp_path):
    for name, array in [("train", TRAIN), ("t10k", TEST)]:
        labels = LABELS[: len(array)]
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(array)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    (tmp_path / "train-images-ubyte").mkdir()
    data = load_dataset(tmp_path)
    assert np.array_equal(data.train[..., 0], TRAIN)
    assert np.array_equal(data.test[..., 0], TEST)
    assert data.train_labels.tolist() == LABELS.tolist()
    assert data.test_labels.tolist() == LABELS[:2].tolist()


def test_a_folder_of_pictures_is_read(tmp_path):
    write_image(tmp_path / "a.png", TRAIN[0])
    write_image(tmp_path / "b" / "c.png", TRAIN[1])
    (tmp_path / "d.png").touch()
    data = load_dataset(str(tmp_path))
    assert np.array_equal(data.train[..., 0], TRAIN[:2])
    assert data.paths == ("a.png", "b/c.png")
    assert [path for path, _ in data.skipped] == ["d.png"]
    assert (data.test, data.source, data.num_resized) == (None, str(tmp_path), 0)
    with pytest.raises(ImageError, match=r"d\.png is empty"):
        load_dataset(tmp_path, strict=True)


def test_the_folders_train_and_test_are_the_split_and_share_size_and_channels(tmp_path):
    write_image(tmp_path / "train" / "a.png", TRAIN[0])
    write_image(tmp_path / "train" / "b.png", np.zeros((9, 10, 3), np.uint8))
    write_image(tmp_path / "test" / "c.png", np.zeros((20, 30), np.uint8))
    write_image(tmp_path / "ignored.png", TRAIN[0])
    (tmp_path / "test" / "d.png").touch()
    data = load_dataset(tmp_path)
    assert data.train.shape == (2, 9, 10, 3)
    assert data.test.shape == (1, 9, 10, 3)
    assert data.num_resized == 1
    assert data.paths == ("train/a.png", "train/b.png")
    assert [path for path, _ in data.skipped] == ["test/d.png"]
    assert data.source == f"{tmp_path}, its folders train and test"


def test_a_store_keeps_the_folder_train_alone(tmp_path):
    write_image(tmp_path / "train" / "a.png", TRAIN[0])
    write_image(tmp_path / "train" / "b.png", np.zeros((9, 10, 3), np.uint8))
    write_image(tmp_path / "test" / "c.png", np.zeros((20, 30), np.uint8))
    expected = load_dataset(tmp_path)
    data = load_dataset(tmp_path, store=tmp_path / "train" / "images.npy")
    assert isinstance(data.train, np.memmap)
    assert not isinstance(data.test, np.memmap)
    assert np.array_equal(data.train, expected.train)
    assert np.array_equal(data.test, expected.test)
    assert (data.paths, data.test_paths) == (("train/a.png", "train/b.png"), ("test/c.png",))


def test_one_picture_is_a_data_set_of_one_image(tmp_path):
    write_image(tmp_path / "a.png", TRAIN[0])
    data = load_dataset(tmp_path / "a.png")
    assert np.array_equal(data.train[0, ..., 0], TRAIN[0])
    assert load_dataset(tmp_path / "a.png", size=8).train.shape == (1, 8, 8, 1)


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3")
    refused(tmp_path / "a.csv", r"none of the 1 in .* is\. The first, a\.csv: A picture must be")


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def parquet(path, **columns):
    pa.parquet.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_with_structs_and_labels_is_read_as_hubs_write_it(tmp_path):
    cells = [{"bytes": png(image), "path": f"{k}.png"} for k, image in enumerate(TRAIN)]
    cells[1] = {"bytes": None, "path": "1.png"}
    cells[2] = {"bytes": b"broken", "path": "2.png"}
    path = parquet(tmp_path / "a.parquet", label=LABELS, image=cells)
    steps = []
    data = load_dataset(path, progress=lambda done, total: steps.append((done, total)))
    assert np.array_equal(data.train[..., 0], TRAIN[[0, 3]])
    assert data.train_labels.tolist() == LABELS[[0, 3]].tolist()
    assert data.paths == ("row 0", "row 3")
    assert data.skipped[0] == ("row 1", "A picture must hold data; row 1 holds none. Leave it out.")
    assert data.skipped[1][0] == "row 2"
    assert steps[-1] == (8, 8)
    with pytest.raises(ImageError, match="row 1 holds none"):
        load_dataset(path, strict=True)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_parquet_with_plain_bytes_is_read_in_batches(tmp_path, kind):
    cells = pa.array([png(TRAIN[k % 4]) for k in range(70)], kind)
    data = load_dataset(parquet(tmp_path / "a.parquet", anything=cells), size=8, channels=3)
    assert data.train.shape == (70, 8, 8, 3)
    assert np.array_equal(data.train[3], data.train[67])
    assert data.train_labels is None


def test_parquet_with_missing_labels_has_none(tmp_path):
    cells = [png(image) for image in TRAIN]
    path = parquet(tmp_path / "a.parquet", image=cells, label=[1, None, 2, 3])
    assert load_dataset(path).train_labels is None


def test_parquet_without_an_image_column_is_refused_with_its_columns(tmp_path):
    path = parquet(tmp_path / "a.parquet", a=[1], b=["text"])
    refused(path, r"must have a column 'image'.* has a \(int64\), b \(string\)\. Rename the right")
    path = parquet(tmp_path / "b.parquet", a=[b"x"], b=[b"y"])
    refused(path, r"has a \(binary\), b \(binary\)\. Rename")


def test_parquet_that_is_something_else_or_cut_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("no table")
    refused(path, "must be a Parquet file; reading it gave .*Copy or download it again")
    whole = parquet(path, image=[png(image) for image in TRAIN]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "must be a Parquet file")
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    refused(path, "must be a Parquet file|none is")


def test_parquet_without_a_picture_is_refused(tmp_path):
    path = parquet(tmp_path / "a.parquet", image=pa.array([], pa.binary()))
    refused(path, "At least one picture must be usable; .* holds none. Check the path")


def shard(path, *images, column="image", **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    return parquet(
        path, **{column: pa.array([png(image) for image in images], pa.binary())}, **others
    )


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["data/train-00000-of-00002", "data/train-00001-of-00002"], "data/test-00000-of-00001"),
        (["train-00000-of-00002-0a1b2c", "train-00001-of-00002-d3e4"], "test-00000-of-00001-f5"),
        (["default/train/0000", "default/train/0001"], "default/test/0000"),
        (["train/a", "train/b"], "test/a"),
        (["Train", "training_2"], "testing-1"),
        (["a", "b"], "test"),
    ],
)
def test_parquet_shards_are_one_data_set_with_the_splits_of_their_names(tmp_path, train, test):
    train, test = [f"{name}.parquet" for name in train], f"{test}.PARQUET"
    shard(tmp_path / train[1], TRAIN[2], TRAIN[3], label=[2, 3])
    shard(tmp_path / train[0], TRAIN[0], TRAIN[1], label=[0, 1])
    shard(tmp_path / test, np.zeros((20, 30), np.uint8), label=[7])
    data = load_dataset(tmp_path)
    assert np.array_equal(data.train[..., 0], TRAIN)
    assert data.train_labels.tolist() == [0, 1, 2, 3]
    assert data.test.shape == (1, 9, 10, 1)
    assert data.test_labels.tolist() == [7]
    assert data.num_resized == 1
    assert data.paths == tuple(f"{train[k // 2]} row {k % 2}" for k in range(4))
    assert data.test_paths == (f"{test} row 0",)
    assert (data.name, data.source) == (str(tmp_path), f"{tmp_path}, Parquet files: 3")


@pytest.mark.parametrize(
    ("others", "left_out"),
    [
        (["validation-00000-of-00001.parquet"], "validation"),
        (["data/dev.parquet", "data/val/0.parquet"], "validation"),
        (["extra-00000-of-00001.parquet", "valid.parquet"], "extra, validation"),
        (["notes.parquet", "x/more.parquet"], "files that name no split"),
    ],
)
def test_other_splits_are_left_out_and_named_in_the_source(tmp_path, others, left_out):
    shard(tmp_path / "data" / "train.parquet", TRAIN[0])
    for name in others:
        shard(tmp_path / name, TRAIN[1], column="of another name")
    data = load_dataset(tmp_path)
    assert np.array_equal(data.train[..., 0], TRAIN[:1])
    assert data.test is None
    assert data.source == f"{tmp_path}, Parquet files: 1; left out: {left_out}"


def test_beside_the_folders_train_and_test_no_shard_is_read(tmp_path):
    shard(tmp_path / "train" / "a.parquet", TRAIN[0])
    shard(tmp_path / "test" / "a.parquet", TRAIN[1])
    shard(tmp_path / "validation" / "a.parquet", TRAIN[2])
    shard(tmp_path / "train-2.parquet", TRAIN[2])
    write_image(tmp_path / "logo.png", TRAIN[3])
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.test)) == (1, 1)
    assert data.source == f"{tmp_path}, Parquet files: 2; left out: train-2.parquet, validation"


def test_pictures_in_the_folders_train_and_test_are_read_whatever_stands_beside_them(tmp_path):
    write_image(tmp_path / "train" / "a.png", TRAIN[0])
    write_image(tmp_path / "test" / "b.png", TRAIN[1])
    shard(tmp_path / "annotations.parquet", TRAIN[2])
    data = load_dataset(tmp_path)
    assert (data.paths, data.test_paths) == (("train/a.png",), ("test/b.png",))


@pytest.mark.parametrize("name", ["test-00000-of-00001.parquet", "validation/a.parquet"])
def test_the_only_split_is_what_is_trained_on(tmp_path, name):
    shard(tmp_path / name, TRAIN[0], TRAIN[1])
    data = load_dataset(tmp_path)
    assert (len(data.train), data.test) == (2, None)
    assert data.source == f"{tmp_path}, Parquet files: 1"


def test_several_splits_without_one_to_train_on_are_refused(tmp_path):
    for name in ("test.parquet", "validation.parquet"):
        shard(tmp_path / name, TRAIN[0])
    refused(tmp_path, r"must have one that is named train; .* has test, validation\. Pass the path")


def test_pictures_and_parquet_files_in_one_folder_are_refused(tmp_path):
    shard(tmp_path / "data" / "b.parquet", TRAIN[0])
    shard(tmp_path / "data" / "a.parquet", TRAIN[0])
    write_image(tmp_path / "assets" / "logo.png", TRAIN[1])
    refused(
        tmp_path,
        r"must hold pictures or Parquet files, not both; .* has pictures \(1, assets/logo\.png the "
        r"first\) and Parquet files \(2, data/a\.parquet the first\)\. Pass the path of a folder",
    )
    assert len(load_dataset(tmp_path / "data").train) == 2
    assert len(load_dataset(tmp_path / "assets").train) == 1


def test_a_table_of_captions_beside_pictures_is_no_shard(tmp_path):
    write_image(tmp_path / "a.png", TRAIN[0])
    parquet(tmp_path / "metadata.parquet", file_name=["a.png"], text=["a caption"])
    assert load_dataset(tmp_path).paths == ("a.png",)


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (
            {"column": "img", "label": [1]},
            "has img, label, and .*a.parquet has image, label. Write",
        ),
        ({}, "b.parquet has image, and .*a.parquet has image, label. Write it again"),
        ({"label": ["one"]}, "b.parquet has image, and .*a.parquet has image, label. Write"),
    ],
)
def test_shards_whose_columns_differ_are_refused_by_name(tmp_path, second, text):
    shard(tmp_path / "a.parquet", TRAIN[0], label=[1])
    shard(tmp_path / "b.parquet", TRAIN[0], **second)
    refused(tmp_path, f"All Parquet files .* must have the same columns.*{text}")


def test_an_unreadable_shard_is_refused_by_name_and_leaves_no_store(tmp_path):
    shard(tmp_path / "a.parquet", *TRAIN)
    whole = shard(tmp_path / "b.parquet", *TRAIN).read_bytes()
    half = len(whole) // 2
    for data in (b"", whole[:half], whole[:4] + bytes(half) + whole[4 + half :]):
        (tmp_path / "b.parquet").write_bytes(data)
        refused(
            tmp_path,
            r"b\.parquet must be a Parquet file; reading it gave",
            store=tmp_path / "c.npy",
        )
    parquet(tmp_path / "b.parquet", other=[1])
    refused(tmp_path, r"must have a column 'image'.*b\.parquet has other \(int64\)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_shards_without_rows_count_for_nothing(tmp_path):
    shard(tmp_path / "a.parquet")
    shard(tmp_path / "b.parquet", TRAIN[0])
    assert load_dataset(tmp_path).paths == ("b.parquet row 0",)
    shard(tmp_path / "b.parquet")
    refused(
        tmp_path, "At least one picture must be usable; .*Parquet files: 2\\) holds none. Check"
    )


def test_bad_rows_of_shards_are_skipped_with_their_labels(tmp_path):
    shard(tmp_path / "a.parquet", TRAIN[0], TRAIN[1], label=[5, 6])
    parquet(tmp_path / "b.parquet", image=[b"broken", png(TRAIN[2])], label=[7, 8])
    data = load_dataset(tmp_path, store=tmp_path / "c.npy")
    assert np.array_equal(data.train[..., 0], TRAIN[:3])
    assert isinstance(data.train, np.memmap)
    assert data.train_labels.tolist() == [5, 6, 8]
    assert [name for name, _ in data.skipped] == ["b.parquet row 0"]


def test_parquet_without_its_package_names_the_extra(tmp_path, monkeypatch):
    path = parquet(tmp_path / "a.parquet", image=[png(TRAIN[0])])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Reading Parquet files.*convae\[parquet\]"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("minst", "Did you mean 'mnist'"),
        ("Digits", "Did you mean 'digits'"),
        ("no/such/folder", "Check the spelling"),
        ("", "Check the spelling"),
        ("a\0b", "Check the spelling"),
        ("x" * 5000, "Check the spelling"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(name, remedy):
    with pytest.raises(
        DataError, match=rf"one of digits, mnist, or the path .*; received .*{remedy}"
    ):
        load_dataset(name)


def test_settings_are_checked_before_anything_is_read():
    for wrong in ({"size": (8, 7)}, {"channels": 2}, {"fit": "squeeze"}):
        with pytest.raises(ParameterError, match=f"{next(iter(wrong))} must be"):
            load_dataset("digits", **wrong)
