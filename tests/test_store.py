import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convae.datasets import load_dataset
from convae.errors import ConvaeError, ImageError, OutputError, ParameterError
from convae.images import store_images
from convae.images.memory import release

OTHER_SYSTEM = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def part(count, *, value=7, dtype=np.uint8, shape=(8, 9, 1)):
    return np.full((count, *shape), value, dtype)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(parts, path, text, error):
    before = contents(path.parent) if path.parent.is_dir() else None
    with pytest.raises(error) as caught:
        store_images(parts, path)
    assert text in str(caught.value)
    assert isinstance(caught.value, ConvaeError)
    if before is not None:
        assert contents(path.parent) == before


@st.composite
def streams(draw):
    dtype = draw(st.sampled_from([np.uint8, np.float32, np.float64, np.float16]))
    shape = draw(st.sampled_from([(8, 8), (9, 12), (8, 10, 1), (8, 8, 3), (10, 8, 4)]))
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (sum(counts), *shape))
    values = values.astype(dtype) if dtype == np.uint8 else (values / 255).astype(dtype)
    return np.split(values, np.cumsum(counts)[:-1])


@given(streams())
@settings(max_examples=40)
def test_what_is_stored_comes_back(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("store") / "images.npy"
    stored = store_images(iter(parts), path)
    whole = np.concatenate(parts)
    expected = whole if whole.dtype == np.uint8 else whole.astype(np.float32)
    expected = expected if expected.ndim == 4 else expected[..., np.newaxis]
    assert isinstance(stored, np.memmap)
    assert not stored.flags.writeable
    for images in (stored, np.load(path), load_dataset(path).train):
        assert images.dtype == expected.dtype
        assert np.array_equal(images, expected)
    assert list(contents(path.parent)) == ["images.npy"]


@pytest.mark.parametrize("count", [1, 9, 10, 99_999, 100_000])
def test_the_count_needs_not_be_known_before(tmp_path, count):
    lengths = [30_000] * (count // 30_000) + [count % 30_000]
    path = tmp_path / "images.npy"
    stored = store_images((part(n, value=n % 251, shape=(8, 8)) for n in lengths), path)
    assert stored.shape == np.load(path).shape == (count, 8, 8, 1)
    assert path.stat().st_size == 128 + count * 64
    assert stored[0, 0, 0, 0] == lengths[0] % 251
    assert stored[-1, -1, -1, -1] == lengths[-1] % 251


def test_only_one_part_is_in_memory(tmp_path):
    def parts():
        for value in range(40):
            yield part(1000, value=value, shape=(32, 32))

    tracemalloc.start()
    stored = store_images(parts(), tmp_path / "images.npy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.nbytes == 40_960_000
    assert peak < 5_000_000


def test_one_array_stands_for_itself_and_need_not_lie_in_one_piece(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 10, 30), np.uint8)[::2, :, :, ::10]
    assert np.array_equal(store_images(images, tmp_path / "images.npy"), images)


def test_a_relative_path_is_one_from_the_current_folder_and_folders_are_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = store_images([part(2)], "deep/er/images.npy")
    monkeypatch.chdir("/")
    assert np.array_equal(stored, np.load(tmp_path / "deep" / "er" / "images.npy"))


def test_stored_images_and_empty_files_are_replaced_and_who_uses_the_old_ones_keeps_them(tmp_path):
    path = tmp_path / "images.npy"
    path.touch()
    old = store_images([part(3, value=1)], path)
    new = store_images([part(2, value=0.5, dtype=np.float32)], path)
    assert (old == 1).all()
    assert (new == 0.5).all()


def test_the_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "images.npy"
    seen = []

    def parts():
        yield part(2)
        seen.append(path.exists())
        yield part(2)
        seen.append(path.exists())

    store_images(parts(), path)
    assert seen == [False, False]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError, OutputError])
@pytest.mark.parametrize("existing", [False, True])
def test_what_the_parts_raise_passes_unchanged_and_leaves_nothing(tmp_path, error, existing):
    path = tmp_path / "images.npy"
    if existing:
        store_images([part(1)], path)
    before = contents(tmp_path)
    raised = error("theirs")

    def parts():
        yield part(2)
        raise raised from KeyError("why")

    with pytest.raises(error) as caught:
        store_images(parts(), path)
    assert caught.value is raised
    assert isinstance(raised.__cause__, KeyError)
    assert contents(tmp_path) == before


def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk):
    store_images([part(1)], tmp_path / "images.npy")
    with full_disk(100_000):
        refused(
            (part(100) for _ in range(100)),
            tmp_path / "images.npy",
            "'File too large'",
            OutputError,
        )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "There must be at least one image to store; received no part. Check what makes them."),
        (
            [part(3), part(2, dtype=np.float32, value=1)],
            "All parts must have one dtype, height, width and number of channels; received float32 "
            "and (8, 9, 1) from image 3 on, after uint8 and (8, 9, 1). Bring them together with",
        ),
        ([part(3), part(3), part(1, shape=(8, 9, 3))], "and (8, 9, 3) from image 6 on, after"),
        ([part(3), part(0)], "The part that begins at image 3: There must be at least one image"),
        ([part(1, dtype=np.uint16)], "begins at image 0: Images must be uint8, or floats"),
        ([part(2, dtype=float, value=1), part(2, dtype=float, value=2)], "at image 2: Images must"),
    ],
)
def test_parts_that_do_not_make_one_array_of_images_are_refused(tmp_path, parts, text):
    refused(parts, tmp_path / "images.npy", text, ImageError)


@pytest.mark.parametrize("name", ["images", "images.npz", ".npy", "images.npy.gz"])
def test_a_name_of_another_kind_is_refused(tmp_path, name):
    text = f"stored in a .npy file; received {tmp_path / name!r}. Pass a path that ends in .npy"
    refused([part(1)], tmp_path / name, text, ParameterError)


@pytest.mark.parametrize("path", [3, None, b"images.npy", True])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ParameterError, match=r"stored in a \.npy file; received"):
        store_images([part(1)], path)


def test_a_file_that_holds_no_images_is_never_replaced(tmp_path):
    arrays = {
        "labels.npy": np.arange(9),
        "latents.npy": np.zeros((9, 8), np.float32),
        "volumes.npy": np.zeros((9, 8, 8, 5), np.uint8),
        "doubles.npy": np.zeros((9, 8, 8, 1)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / name, array)
        text = f"{tmp_path / name} is a .npy file with {array.dtype} of shape {array.shape}. Choose"
        refused([part(1)], tmp_path / name, text, OutputError)
    (tmp_path / "notes.npy").write_text("not an array")
    text = "in place of stored images; "
    text += (
        f"{tmp_path / 'notes.npy'} is a file of another kind, or one that cannot be read. Choose"
    )
    refused([part(1)], tmp_path / "notes.npy", text, OutputError)


def test_a_folder_and_a_pipe_are_refused(tmp_path):
    folder, pipe = tmp_path / "folder.npy", tmp_path / "pipe.npy"
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (folder, pipe):
        with pytest.raises(
            OutputError, match=r"npy is a folder, a device or a pipe\. Choose anoth"
        ):
            store_images([part(1)], path)
    assert pipe.is_fifo()


def test_a_place_that_cannot_be_written_to_is_refused(unprivileged):
    (unprivileged / "file").touch()
    with pytest.raises(OutputError, match="a file is in the way of its folder"):
        store_images([part(1)], unprivileged / "file" / "images.npy")
    with pytest.raises(OutputError, match="null character"):
        store_images([part(1)], f"{unprivileged}/a\0.npy")
    unprivileged.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        store_images([part(1)], unprivileged / "images.npy")


def resident_bytes(path):
    """How much of a file is in this process's memory by its mappings."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    total = 0
    for line in lines:
        if line.endswith(str(path)):
            fields = (entry.split() for entry in lines)
            total += 1024 * next(int(size) for name, size, *_ in fields if name == "Rss:")
    return total


@OTHER_SYSTEM
@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[3:, ..., 0], lambda a: np.asarray(a)[1:]]
)
def test_released_pages_leave_the_memory_and_come_back_the_same(tmp_path, view):
    path = tmp_path / "images.npy"
    mapped = store_images([part(4000, value=5, shape=(32, 32))], path)
    images = view(mapped)
    total = int(images.sum())
    assert resident_bytes(path) > 3_900_000
    release(images)
    assert resident_bytes(path) == 0
    assert int(images.sum()) == total
    assert resident_bytes(path) > 3_900_000


def test_releasing_changes_no_array(tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", part(2000))
    changed = np.load(tmp_path / "images.npy", mmap_mode="c")
    changed[:] = 9
    written = np.load(tmp_path / "images.npy", mmap_mode="r+")
    written[:1000] = 8
    in_memory = part(20)
    for images in (changed, changed[::2], written, in_memory, in_memory[1:], np.array(5)):
        release(images)
    assert (changed == 9).all()
    assert (written[:1000] == 8).all()
    assert (written[1000:] == 7).all()
    assert (in_memory == 7).all()


def test_nothing_is_released_where_the_system_cannot(tmp_path, monkeypatch):
    images = store_images([part(20)], tmp_path / "images.npy")
    monkeypatch.delattr("mmap.MADV_DONTNEED", raising=False)
    release(images)
    assert (images == 7).all()
