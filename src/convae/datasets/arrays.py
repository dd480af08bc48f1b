"""Read arrays from .npy, .npz and IDX files; whether they are images is checked elsewhere."""

import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convae.errors import DataError
from convae.images.memory import check_memory
from convae.images.store import map_array, unreadable
from convae.storage.files import printable
from convae.storage.regular import check_regular

# Names of one thing, as Keras, MedMNIST and plain users write them.
TRAIN_KEYS = ("x_train", "train_images", "images")
TEST_KEYS = ("x_test", "test_images")
TRAIN_LABEL_KEYS = ("y_train", "train_labels", "labels")
TEST_LABEL_KEYS = ("y_test", "test_labels")

IDX_NAMES = ("train-images", "t10k-images", "train-labels", "t10k-labels")
IDX_ENDINGS = ("ubyte", "ubyte.gz")
IDX_UINT8 = 0x08
# The most that deflate can shrink anything (zlib's technical details).
LARGEST_DEFLATE_RATIO = 1032

# Training is a little faster on images in memory, and these fit into that of any machine.
MOST_READ_BYTES = 2**28

SAVE_PLAINLY = "Save the images alone with numpy.save: a .npy file is not read at once."


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images and labels as they stand in a file, not checked.

    Args:
        train: Images, of any dtype and shape.
        test: The same, or None.
        train_labels: One for each training image, or None.
        test_labels: One for each test image, or None.
    """

    train: NDArray[Any]
    test: NDArray[Any] | None = None
    train_labels: NDArray[Any] | None = None
    test_labels: NDArray[Any] | None = None


def read_npy(path: Path) -> NDArray[Any]:
    """Read a .npy file, or map a large one, of which only the parts that are used are read.

    Raises:
        DataError: It is no .npy file, holds Python objects, or is shorter than it says.
    """
    mapped = map_array(path)
    return mapped if mapped.nbytes > MOST_READ_BYTES else np.array(mapped, order="C")


def read_npz(path: Path) -> Arrays:
    """Read a .npz file: x_train and x_test (y_train, y_test), `images`, or its only array.

    Raises:
        DataError: It is no .npz file, holds Python objects, is damaged or too large, or has none
            of these names.
    """
    try:
        check_regular(path)
        sizes = _npz_sizes(path)
        names = _npz_names(list(sizes), path)
        # zipfile never unpacks more of an entry than the size it states.
        num_bytes = sum(sizes[name] for name in names if name)
        check_memory((num_bytes,), np.uint8, printable(path), SAVE_PLAINLY)
        with np.load(path, allow_pickle=False) as stored:
            first, *rest = names
            return Arrays(stored[first], *(stored[name] if name else None for name in rest))
    except DataError:
        raise
    except Exception as error:  # as above, and the errors of zip
        raise unreadable(path, "a .npz file of numeric arrays", error) from error


def _npz_sizes(path: Path) -> dict[str, int]:
    """The bytes of each array, unpacked.

    Raises:
        ValueError: Two have one name.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in entries}
    if len(sizes) != len(entries):
        raise ValueError("it holds a name twice")
    return sizes


def _npz_names(found: Sequence[str], path: Path) -> list[str | None]:
    """The names of the training and test images and of their labels, where they are there."""
    groups = (TRAIN_KEYS, TEST_KEYS, TRAIN_LABEL_KEYS, TEST_LABEL_KEYS)
    names = [next((key for key in keys if key in found), None) for keys in groups]
    if names[0] is None and len(found) == 1:
        return [found[0], None, None, None]
    if names[0] is None:
        raise DataError(
            f"A .npz file must hold x_train (and x_test, y_train, y_test if there are any), "
            f"images, or a single array; {printable(path)} holds "
            f"{', '.join(sorted(found)) or 'nothing'}. Save it with "
            f"numpy.savez(path, images=array)."
        )
    return names


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped (http://yann.lecun.com/exdb/mnist).

    Raises:
        DataError: It is no such file, or is shorter, longer or larger than it may be.
    """
    try:
        check_regular(path)
        if path.name.endswith(".gz"):
            with gzip.open(path) as stream:
                return _read_idx(stream, path, path.stat().st_size * LARGEST_DEFLATE_RATIO)
        with path.open("rb") as stream:
            return _read_idx(stream, path, path.stat().st_size)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise unreadable(path, "an IDX file of unsigned bytes", error) from error


def _read_idx(stream: BinaryIO | gzip.GzipFile, path: Path, most: int) -> NDArray[np.uint8]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, IDX_UINT8)) or not 1 <= magic[3] <= 4:
        raise ValueError(f"it begins with the bytes '{magic.hex(' ')}'")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError("it ends inside its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    promised = math.prod(shape)
    if promised > most:
        raise ValueError(f"its header promises {promised:,} bytes, which it cannot hold")
    check_memory(shape, np.uint8, printable(path), SAVE_PLAINLY)
    # One byte more than promised tells whether the file ends where it should.
    data = stream.read(promised + 1)
    if len(data) != promised:
        relation = "fewer" if len(data) < promised else "more"
        raise ValueError(f"its header promises {promised:,} bytes, and it holds {relation}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_idx_folder(folder: Path) -> Arrays | None:
    """The four files of MNIST and its relatives, or None when the training images are missing.

    Raises:
        DataError: A file is damaged.
    """

    def find(start: str) -> Path | None:
        found = [path for path in folder.glob(f"{start}*") if path.name.endswith(IDX_ENDINGS)]
        # The plain file before the gzipped one.
        found.sort(key=lambda path: len(path.name))
        return next((path for path in found if path.is_file()), None)

    first, *rest = [find(start) for start in IDX_NAMES]
    if first is None:
        return None
    return Arrays(read_idx(first), *(read_idx(path) if path else None for path in rest))
