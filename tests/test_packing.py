"""What is packed: everything that is there, as it is."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from convae.datasets import exact_batches, fitted_batches, load_dataset
from convae.errors import DataError, ImageError, MissingExtraError
from convae.images import write_image


def noise(height, width, channels=3, seed=0, dtype=np.uint8):
    most = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, most, (height, width, channels), dtype, True)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def parquet(path, *images):
    cells = pa.array([image if image is None else png(image) for image in images], pa.binary())
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.table({"image": cells}), path)
    return path


def packed(path, **options):
    """Everything that is read, by name; what was skipped, and the notes."""
    skipped, notes, found = [], [], {}
    for images, names in exact_batches(path, skipped, notes=notes, **options):
        assert images.ndim == 4
        found.update(zip(names or map(str, range(len(images))), images, strict=True))
    return found, dict(skipped), notes


def test_pictures_in_parquet_files_keep_their_sizes_and_the_names_of_their_rows(tmp_path):
    images = [noise(200, 300), noise(3, 1), noise(200, 300, seed=2)]
    steps = []
    path = parquet(tmp_path / "a.parquet", images[0], None, *images[1:])
    found, skipped, _ = packed(path, progress=lambda *step: steps.append(step))
    assert list(skipped) == ["row 1"]
    assert "must hold data; row 1 holds none" in skipped["row 1"]
    assert sorted(found) == ["row 0", "row 2", "row 3"]
    for name, image in zip(sorted(found), images, strict=True):
        assert np.array_equal(found[name], image)
    assert steps == [(done, 4) for done in range(1, 5)]
    with pytest.raises(ImageError, match="row 1 holds none"):
        packed(path, strict=True)


def test_a_folder_gives_all_its_pictures_and_rows_whatever_its_splits(tmp_path):
    for index, name in enumerate(("train/a.png", "test/b.png", "c.jfif", "validation/d.apng")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(noise(9, 7 + index)))
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", noise(5, 5))
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", noise(5, 6), noise(5, 7))
    pyarrow.parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "metadata.parquet")
    pyarrow.parquet.write_table(pa.table({"number": [1]}), tmp_path / "other.parquet")
    (tmp_path / "readme.txt").write_text("read me")
    found, skipped, notes = packed(tmp_path)
    assert {name: image.shape[1] for name, image in found.items()} == {
        "c.jfif": 9, "test/b.png": 8, "train/a.png": 7, "validation/d.apng": 10,
        "data/test-00000-of-00001.parquet row 0": 6,
        "data/test-00000-of-00001.parquet row 1": 7,
        "data/train-00000-of-00001.parquet row 0": 5,
    }  # fmt: skip
    assert list(skipped) == ["other.parquet"]
    assert "must have a column 'image'" in skipped["other.parquet"]
    assert notes == ["2 files with other endings than those of pictures: left out"]
    with pytest.raises(DataError, match="must have a column 'image'"):
        packed(tmp_path, strict=True)


def test_a_picture_is_read_by_its_content_whatever_its_ending(tmp_path):
    for name in ("photo.jfif", "photo", "photo.data"):
        (tmp_path / name).write_bytes(png(noise(200, 300)))
        found, *_ = packed(tmp_path / name)
        assert list(found) == [name]
        assert np.array_equal(found[name], noise(200, 300))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
@pytest.mark.parametrize("shape", [(4, 16, 16), (2, 1, 3), (3, 5, 4, 2), (2, 9, 8, 4)])
def test_arrays_of_integers_are_read_as_they_are(tmp_path, dtype, shape):
    values = np.random.default_rng(0).integers(0, np.iinfo(np.dtype(dtype)).max, shape)
    array = values.astype(dtype)
    np.save(tmp_path / "a.npy", array)
    found, *_ = packed(tmp_path / "a.npy")
    images = np.stack(list(found.values()))
    assert images.dtype == (np.uint8 if array.itemsize == 1 else np.uint16)
    assert images.dtype.isnative
    assert np.array_equal(images.reshape(shape), array)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 8, 8), np.float32), r"holds float32\. Round .*to_uint8.*65535\)\.astype"),
        (np.zeros((2, 8, 8), bool), r"holds bool\. Convert with array\.astype\('uint8'\)"),
        (np.zeros((2, 8, 8), np.int64), r"holds int64\. Convert .*astype\('uint16'\)"),
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\)\. For one gray image, use array\[numpy"),
        (np.zeros((2, 3, 8, 8), np.uint8), "channels first: use numpy.moveaxis"),
        (np.zeros((0, 8, 8), np.uint8), "must have the shape"),
    ],
)
def test_arrays_that_cannot_be_kept_exactly_are_refused_with_what_to_do(tmp_path, array, text):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageError, match=text):
        packed(tmp_path / "a.npy")


def test_what_the_advice_for_floats_makes_is_read(tmp_path):
    floats = np.random.default_rng(0).random((2, 9, 9))
    np.save(tmp_path / "a.npy", np.rint(floats * 65535).astype("uint16"))
    found, *_ = packed(tmp_path / "a.npy")
    assert np.allclose(found["1"][..., 0] / 65535, floats[1], atol=1e-5)


def test_of_arrays_with_a_test_part_that_part_is_read_and_it_is_said(tmp_path):
    train, test = noise(9, 9, 5), noise(9, 9, 3)
    np.savez(tmp_path / "a.npz", x_train=train, x_test=test)
    found, _, notes = packed(tmp_path / "a.npz")
    assert np.array_equal(np.stack(list(found.values()))[..., 0], test)
    assert notes == ["only the test part is packed; 9 training images are left out"]
    found, _, notes = packed("digits")
    assert np.array_equal(np.stack(list(found.values())), load_dataset("digits").test)
    assert notes == ["only the test part is packed; 1,500 training images are left out"]


def test_a_folder_that_cannot_be_listed_is_said_and_refused_if_strict(unprivileged):
    write_image(unprivileged / "a.png", noise(9, 9))
    write_image(unprivileged / "closed" / "b.png", noise(9, 9))
    (unprivileged / "closed").chmod(0)
    try:
        found, skipped, _ = packed(unprivileged)
        with pytest.raises(DataError, match=r"closed: A folder must be readable; .*'Permission"):
            packed(unprivileged, strict=True)
        with pytest.raises(DataError, match=r"closed: A folder must be readable; .*'Permission"):
            load_dataset(unprivileged, strict=True)
    finally:
        (unprivileged / "closed").chmod(0o700)
    assert list(found) == ["a.png"]
    assert "listing it gave 'Permission denied'" in skipped["closed"]


def test_frames_behind_the_first_are_counted_and_refused_if_strict(tmp_path):
    frames = [Image.fromarray(noise(9, 9, seed=seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    found, skipped, notes = packed(tmp_path)
    assert np.array_equal(found["a.tif"], noise(9, 9, seed=1))
    assert (skipped, notes) == (
        {},
        ["1 picture has more than one frame or page; only the first is read"],
    )
    with pytest.raises(ImageError, match=r"must have one frame or page .* a\.tif has more"):
        packed(tmp_path, strict=True)


def test_where_there_is_nothing_to_read_the_first_reason_is_given(tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_text("no picture")
    with pytest.raises(DataError, match=r"none of the 2 in .* is\. The first, a\.png: A picture"):
        packed(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must hold PNG, JPEG.*holds none, and 0 other files"):
        packed(tmp_path / "empty")
    with pytest.raises(DataError, match="in quotes: write the path in full"):
        packed("~/nowhere-at-all")
    with pytest.raises(DataError, match=r"A pattern with \* is not expanded here"):
        packed(tmp_path / "*.png")


def test_parquet_files_without_their_package_name_the_extra(tmp_path, monkeypatch):
    parquet(tmp_path / "a.parquet", noise(9, 9))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for path in (tmp_path, tmp_path / "a.parquet"):
        with pytest.raises(MissingExtraError, match=r"convae\[parquet\]"):
            packed(path)
    write_image(tmp_path / "b.png", noise(9, 9))
    found, skipped, _ = packed(tmp_path)
    assert (list(found), list(skipped)) == (["b.png"], ["a.parquet"])


def test_the_same_can_be_read_at_one_size(tmp_path):
    write_image(tmp_path / "train" / "a.png", noise(16, 16))
    write_image(tmp_path / "test" / "b.png", noise(20, 30))
    parquet(tmp_path / "c.parquet", noise(8, 8))
    (tmp_path / "d.png").touch()
    skipped, notes = [], []
    ((images, names),) = fitted_batches(tmp_path, (16, 16), 3, skipped, notes=notes)
    assert list(names) == ["test/b.png", "train/a.png", "c.parquet row 0"]
    assert images.shape == (3, 16, 16, 3)
    assert np.array_equal(images[1], noise(16, 16))
    assert [name for name, _ in skipped] == ["d.png"]
    assert notes == ["2 of another size were changed to 16 x 16"]
    np.savez(tmp_path / "a.npz", x_train=noise(9, 9, 8), x_test=noise(5, 9, 8))
    notes = []
    ((images, names),) = fitted_batches(tmp_path / "a.npz", 16, 1, [], notes=notes)
    assert (images.shape, list(names)) == ((5, 16, 16, 1), [])
    assert notes == [
        "only the test part is packed; 9 training images are left out",
        "5 of another size were changed to 16 x 16",
    ]
