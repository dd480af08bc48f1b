"""Load a data set by its name or its path; what it holds is checked, never changed unasked."""

import dataclasses
import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convae.datasets.arrays import (
    IDX_ENDINGS,
    Arrays,
    read_idx,
    read_idx_folder,
    read_npy,
    read_npz,
)
from convae.datasets.mnist import load_mnist
from convae.datasets.parquet import read_parquet
from convae.errors import DataError, ImageError
from convae.files import printable
from convae.images.contract import as_images
from convae.images.folders import read_paths
from convae.images.gather import FolderImages, PictureSettings, Progress
from convae.images.memory import check_memory
from convae.images.resize import Fit, Size, check_size, fit_channels, fit_size

NAMES = ("digits", "mnist")

DIGITS_TRAIN = 1500
DIGITS_LARGEST = 16
# As in MNIST: a digit fills 20 x 20 pixels in the middle of 28 x 28.
DIGITS_BOX = 20
DIGITS_MARGIN = 4


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train on, and what is known of them.

    Args:
        name: The name or the path it was loaded by.
        train: Images of the contract of `convae.images`.
        test: The same, or None when the source has no split.
        train_labels: One for each training image, shape (num_images,), or None.
        test_labels: One for each test image, shape (num_images,), or None.
        source: Where the data came from, in one line.
        num_resized: How many images had another size and were changed.
        skipped: Path and reason of each picture that could not be used.
        paths: One for each training image, relative to the folder, or None.
        test_paths: The same for the test images.
    """

    name: str
    train: NDArray[Any]
    test: NDArray[Any] | None
    train_labels: NDArray[Any] | None
    test_labels: NDArray[Any] | None
    source: str
    num_resized: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] | None = None
    test_paths: tuple[str, ...] | None = None


def load_dataset(
    name_or_path: str | os.PathLike[str],
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "pad",
    strict: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Load `mnist`, `digits`, a folder of pictures, or a .npz, .npy, IDX, .parquet or picture file.

    A folder that holds the subfolders `train` and `test` gives both parts, and nothing beside
    them is read. A name wins over a file of the same name; write `./mnist` for the file.

    Args:
        name_or_path: A known name, or a path.
        size: Height and width of the images, in pixels; one number for both. By default arrays
            stay as they are, and pictures decide as in `convae.images.read_images`.
        channels: 1, 3 or 4; the default is as for `size`.
        fit: How images of another size are brought to `size`: `pad`, `crop` or `stretch`.
        strict: Refuse the first picture that cannot be used, instead of skipping it.
        progress: Called with the steps done and all steps while pictures are read; a picture
            takes two steps.

    Raises:
        DataError: There is no such name or path, or it cannot be read.
        ImageError: What was read breaks the image contract.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        ParameterError: A setting is outside its range.
    """
    settings = PictureSettings(size, channels, fit, strict, progress)
    name = os.fspath(name_or_path)
    if name == "mnist":
        return _from_arrays(name, *load_mnist(), settings)
    if name == "digits":
        source = "1,797 handwritten digits that ship with scikit-learn, enlarged from 8 x 8"
        return _from_arrays(name, _digits(), source, settings)
    path = Path(name)
    _check_exists(path, name)
    arrays = _read_arrays(path)
    if arrays is not None:
        return _from_arrays(name, arrays, printable(path), settings)
    if path.suffix.lower() == ".parquet":
        return _from_pictures(name, *read_parquet(path, settings))
    if (path / "train").is_dir() and (path / "test").is_dir():
        return _from_split(name, path, settings)
    return _from_pictures(name, read_paths(path, settings), None)


def _check_exists(path: Path, name: str) -> None:
    try:
        exists = name != "" and path.exists()
    except (OSError, ValueError) as error:
        raise _unknown(name) from error
    if not exists:
        raise _unknown(name)


def _unknown(name: str) -> DataError:
    close = difflib.get_close_matches(name.lower(), NAMES, n=1)
    remedy = f"Did you mean {close[0]!r}?" if close else "Check the spelling of the path."
    return DataError(
        f"A data set must be one of {', '.join(NAMES)}, or the path of a folder or file that "
        f"exists; received {printable(name)!r}. {remedy}"
    )


def _read_arrays(path: Path) -> Arrays | None:
    """The arrays of a path that stores arrays, or None when it stores pictures."""
    if path.is_dir():
        return read_idx_folder(path)
    lower = path.name.lower()
    if lower.endswith(".npz"):
        return read_npz(path)
    if lower.endswith(".npy"):
        return Arrays(read_npy(path))
    if lower.endswith(IDX_ENDINGS):
        return Arrays(read_idx(path))
    return None


def _digits() -> Arrays:
    # Only here: scikit-learn takes most of a second to import.
    from sklearn.datasets import load_digits

    def enlarge(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Lanczos would ring: 8 x 8 pixels are few.
        picture = Image.fromarray(digit).resize((DIGITS_BOX, DIGITS_BOX), Image.Resampling.BICUBIC)
        return np.pad(np.asarray(picture), DIGITS_MARGIN)

    digits = load_digits()
    small = np.rint(digits.images * (255 / DIGITS_LARGEST)).astype(np.uint8)
    images = np.stack([enlarge(digit) for digit in small])
    labels = digits.target.astype(np.uint8)
    cut = DIGITS_TRAIN
    return Arrays(images[:cut], images[cut:], labels[:cut], labels[cut:])


def _from_arrays(name: str, arrays: Arrays, source: str, settings: PictureSettings) -> Dataset:
    train, num_resized = _fitted(arrays.train, source, settings)
    test = None
    if arrays.test is not None:
        test, more = _fitted(arrays.test, source, settings)
        num_resized += more
        if test.shape[1:] != train.shape[1:]:
            raise DataError(
                f"Training and test images must have the same height, width and channels; "
                f"{source} has {train.shape[1:]} and {test.shape[1:]}. "
                f"Pass size and channels to bring them together."
            )
    return Dataset(
        name=name,
        train=train,
        test=test,
        train_labels=_labels(arrays.train_labels, train, source),
        test_labels=None if test is None else _labels(arrays.test_labels, test, source),
        source=source,
        num_resized=num_resized,
    )


def _fitted(
    array: NDArray[Any], source: str, settings: PictureSettings
) -> tuple[NDArray[Any], int]:
    """Checked images, at the wanted size and channels, and how many changed their size."""
    try:
        images = as_images(array)
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from error
    count, *received = images.shape
    height, width = received[:2] if settings.size is None else check_size(settings.size)
    depth = settings.channels or received[2]
    if [height, width, depth] == received:
        return images, 0
    shape = (count, height, width, depth)
    what = f"{count:,} images of {height} x {width} from {source}"
    check_memory(shape, images.dtype, what, "Choose a smaller size.")
    result = np.empty(shape, images.dtype)
    for position, image in enumerate(images):
        result[position] = fit_channels(fit_size(image, height, width, settings.fit), depth)
    return result, 0 if [height, width] == received[:2] else count


def _labels(labels: NDArray[Any] | None, images: NDArray[Any], source: str) -> NDArray[Any] | None:
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise DataError(
            f"There must be one label for each image; {source} has labels of shape "
            f"{labels.shape} for {len(images)} images. Save them again, or leave the labels out."
        )
    return labels


def _from_pictures(name: str, pictures: FolderImages, labels: NDArray[Any] | None) -> Dataset:
    return Dataset(
        name=name,
        train=pictures.images,
        test=None,
        train_labels=labels,
        test_labels=None,
        source=printable(name),
        num_resized=pictures.num_resized,
        skipped=pictures.skipped,
        paths=pictures.paths,
    )


def _from_split(name: str, path: Path, settings: PictureSettings) -> Dataset:
    train = read_paths(path / "train", settings)
    _, height, width, depth = train.images.shape
    settled = dataclasses.replace(settings, size=(height, width), channels=depth)
    test = read_paths(path / "test", settled)

    def under(folder: str, pictures: FolderImages) -> tuple[tuple[str, str], ...]:
        return tuple((f"{folder}/{name}", reason) for name, reason in pictures.skipped)

    return Dataset(
        name=name,
        train=train.images,
        test=test.images,
        train_labels=None,
        test_labels=None,
        source=f"{printable(path)}, its folders train and test",
        num_resized=train.num_resized + test.num_resized,
        skipped=under("train", train) + under("test", test),
        paths=tuple(f"train/{name}" for name in train.paths),
        test_paths=tuple(f"test/{name}" for name in test.paths),
    )
