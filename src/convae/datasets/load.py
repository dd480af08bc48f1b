"""Load a data set by its name or its path. Images are checked, and changed only on request."""

import dataclasses
import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

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
from convae.datasets.fit import check_images, count_resized, fit_images, wanted_shape
from convae.datasets.mnist import load_mnist
from convae.datasets.parquet import Shards, find_shards, read_parquet
from convae.errors import DataError, ImageError, ParameterError
from convae.images.contract import to_uint8
from convae.images.exact import exact_pictures
from convae.images.folders import read_paths
from convae.images.gather import FolderImages, PictureSettings, Progress, Skipped
from convae.images.opened import Source, path_remedy
from convae.images.pictures import decode, decode_exact
from convae.images.resize import Fit, Size
from convae.images.store import StorePath
from convae.storage.files import printable

Labeled: TypeAlias = tuple[FolderImages, NDArray[Any] | None]

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
        train: Images of the contract of `convae.images`; a memory map that cannot be written to
            when they come from a large .npy file or are kept in a store.
        test: The same, or None when the source has no split.
        train_labels: One for each training image, shape (num_images,), or None.
        test_labels: One for each test image, shape (num_images,), or None.
        source: Where the data came from, in one line.
        num_resized: How many images had another size and were changed.
        skipped: Path and reason of each picture that could not be used.
        paths: One for each training image, relative to the folder, or None.
        test_paths: The same for the test images.
        notes: What else was left out or not read, in sentences.
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
    notes: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """A name for each training image: its path, or its number where it came without."""
        return list(self.paths or map(str, range(len(self.train))))

    def labels(self) -> NDArray[Any] | None:
        """The kind of each training image: its label or, in a folder of folders, its folder's name.

        Returns:
            `(num_images,)`; None where there are no labels and not every picture is in a folder.
        """
        if self.train_labels is not None or not self.paths:
            return self.train_labels
        folders = [Path(path).parts[0] for path in self.paths if len(Path(path).parts) > 1]
        return np.array(folders) if len(folders) == len(self.paths) else None

    def judged(self) -> tuple[NDArray[Any], list[str]]:
        """The images of the test part if there is one, else all; and a name for each."""
        if self.test is None:
            return self.train, self.names()
        return self.test, list(self.test_paths or map(str, range(len(self.test))))

    def originals(self) -> Iterable[tuple[NDArray[Any], list[str]]] | None:
        """The training pictures as their files hold them, at their own sizes, with their names.

        Returns:
            What `convae.exact_batches` yields, at each pass anew, with pictures that cannot be read
            exactly as uint8; None where the images are no picture files.
        """
        folder = Path(self.name)
        if not self.paths or not (folder / self.paths[0]).is_file():
            return None
        return _Originals(folder, self.paths)


@dataclass(frozen=True)
class _Originals:
    """Pictures of a folder at their own sizes; each pass reads the files again.

    Args:
        folder: Where they lie.
        paths: The path of each in it.
    """

    folder: Path
    paths: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[NDArray[Any], list[str]]]:
        """Arrays of pictures of one size, and their names."""
        sources = ((path, self.folder / path) for path in self.paths)
        return exact_pictures(sources, len(self.paths), [], [], read=_nearly_exact)


def _nearly_exact(source: Source, name: str) -> tuple[NDArray[Any], bool]:
    """A picture exactly if that can be, else as uint8: for learning, that is near enough."""
    try:
        return decode_exact(source, name)
    except ImageError:
        return to_uint8(decode(source, name)), False


def load_dataset(
    name_or_path: str | os.PathLike[str],
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "pad",
    strict: bool = False,
    progress: Progress | None = None,
    store: StorePath | None = None,
) -> Dataset:
    """Load `mnist`, `digits`, a folder of pictures, or a .npz, .npy, IDX, .parquet or picture file.

    A folder that holds the subfolders `train` and `test` gives both parts, and nothing beside
    them is read. A name wins over a file of the same name; write `./mnist` for the file.

    A folder may hold Parquet files instead of pictures, in one folder or several: they are joined
    in the order of their paths. Where a file or a folder begins with the name of a split, as in
    `train-00000-of-00002.parquet` or `test/0000.parquet`, those of `train` and `test` give the two
    parts; `source` names what is left out. Pictures and Parquet files in one folder are refused.

    A .npy file of more than 256 MiB is mapped and not read, so it may be larger than the memory.
    For everything else there is `store`: the training images, at the wanted size, are written to
    that .npy file, once, and used from there. A test part stays in memory; a large one can be
    loaded on its own. The file holds the images alone, without labels and names.

    Args:
        name_or_path: A known name, or a path.
        size: Height and width of the images, in pixels; one number for both. By default arrays
            stay as they are, and pictures decide as in `convae.images.read_images`.
        channels: 1, 3 or 4; the default is as for `size`.
        fit: How images of another size are brought to `size`: `pad`, `crop` or `stretch`.
        strict: As in `convae.read_images`.
        progress: Called with the steps done and all steps while pictures are read; a picture
            takes two steps.
        store: The .npy file to keep the training images in, instead of memory. It appears when
            complete; an existing file of images is replaced, anything else is refused.

    Raises:
        DataError: There is no such name or path, it cannot be read, or needs too much memory.
        ImageError: What was read breaks the image contract.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        ParameterError: A setting is outside its range.
        OutputError: The store cannot be written, for example for lack of room.
    """
    settings = PictureSettings(size, channels, fit, strict, progress, store)
    name = os.fspath(name_or_path)
    if name == "mnist":
        return _from_arrays(name, *load_mnist(), settings)
    if name == "digits":
        source = "1,797 handwritten digits that ship with scikit-learn, enlarged from 8 x 8"
        return _from_arrays(name, _digits(), source, settings)
    path = Path(name)
    check_exists(path, name)
    if store is not None and os.path.exists(store) and path.samefile(store):  # noqa: PTH110
        raise ParameterError(
            f"The store must be another file than the data; received {printable(path)} for both. "
            f"Leave it out, since a .npy file is used in place, or pass another path."
        )
    arrays = read_arrays(path)
    if arrays is not None:
        return _from_arrays(name, arrays, printable(path), settings)
    if path.suffix.lower() == ".parquet" and path.is_file():
        pictures = read_parquet([("", path)], printable(path), settings)
        return _from_pictures(name, printable(name), pictures)
    split = (path / "train").is_dir() and (path / "test").is_dir()
    shards = find_shards(path, within=("train/", "test/") if split else ("",))
    if shards is not None:
        return _from_shards(name, path, shards, settings)
    if split:
        return _from_split(name, path, settings)
    return _from_pictures(name, printable(name), (read_paths(path, settings), None))


def check_dataset(name_or_path: str | os.PathLike[str]) -> None:
    """Refuse, before any work, what `load_dataset` cannot find.

    Args:
        name_or_path: As in `load_dataset`.

    Raises:
        DataError: It is neither the name of a data set nor a path where something is.
    """
    name = os.fspath(name_or_path)
    if name not in NAMES:
        check_exists(Path(name), name)


def check_exists(path: Path, name: str) -> None:
    """Refuse a path where nothing is.

    Raises:
        DataError: There is nothing.
    """
    try:
        exists = name != "" and path.exists()
    except (OSError, ValueError) as error:
        raise _unknown(name) from error
    if not exists:
        raise _unknown(name)


def _unknown(name: str) -> DataError:
    close = difflib.get_close_matches(name.lower(), NAMES, n=1)
    remedy = (
        f"Did you mean {close[0]!r}?"
        if close
        else path_remedy(name, "Check the spelling of the path.")
    )
    return DataError(
        f"A data set must be one of {', '.join(NAMES)}, or the path of a folder or file that "
        f"exists; received {printable(name)!r}. {remedy}"
    )


def read_arrays(path: Path) -> Arrays | None:
    """The arrays of a path that stores arrays, or None when it stores pictures.

    Raises:
        DataError: They cannot be read.
    """
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
    in_memory = dataclasses.replace(settings, store=None)
    train = check_images(arrays.train, source, settings)
    train_labels = _labels(arrays.train_labels, train, source)
    num_resized = count_resized(train, settings)
    test = test_labels = None
    if arrays.test is not None:
        test = check_images(arrays.test, source, in_memory)
        test_labels = _labels(arrays.test_labels, test, source)
        num_resized += count_resized(test, settings)
        shapes = wanted_shape(train, settings), wanted_shape(test, settings)
        if shapes[0] != shapes[1]:
            raise DataError(
                f"Training and test images must have the same height, width and channels; "
                f"{source} has {shapes[0]} and {shapes[1]}. "
                f"Pass size and channels to bring them together."
            )
        test = fit_images(test, source, in_memory)
    train = fit_images(train, source, settings)
    return Dataset(name, train, test, train_labels, test_labels, source, num_resized)


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


def _from_split(name: str, path: Path, settings: PictureSettings) -> Dataset:
    train = read_paths(path / "train", settings)
    test = read_paths(path / "test", _like(train, settings))

    def under(folder: str, pictures: FolderImages) -> FolderImages:
        return dataclasses.replace(
            pictures,
            paths=tuple(f"{folder}/{path}" for path in pictures.paths),
            skipped=tuple((f"{folder}/{path}", reason) for path, reason in pictures.skipped),
            notes=tuple(f"{folder}: {note}" for note in pictures.notes),
        )

    source = f"{printable(path)}, its folders train and test"
    return _from_pictures(name, source, (under("train", train), None), (under("test", test), None))


def _from_shards(name: str, path: Path, shards: Shards, settings: PictureSettings) -> Dataset:
    def read(shards: Sequence[str], settings: PictureSettings, unread: Skipped) -> Labeled:
        where = f"{printable(path)} (Parquet files: {len(shards):,})"
        rows = [(f"{shard} ", path / shard) for shard in shards]
        return read_parquet(rows, where, settings, unread)

    train = read(shards.train, settings, shards.unread)
    test = read(shards.test, _like(train[0], settings), ()) if shards.test else None
    source = f"{printable(path)}, Parquet files: {len(shards.train) + len(shards.test):,}"
    if shards.left_out:
        source += f"; left out: {', '.join(shards.left_out)}"
    return _from_pictures(name, source, train, test)


def _like(train: FolderImages, settings: PictureSettings) -> PictureSettings:
    """The settings for the test images that belong to these training images."""
    _, height, width, depth = train.images.shape
    return dataclasses.replace(settings, size=(height, width), channels=depth, store=None)


def _from_pictures(name: str, source: str, train: Labeled, test: Labeled | None = None) -> Dataset:
    pictures, labels = train
    more, more_labels = (None, None) if test is None else test
    return Dataset(
        name=name,
        train=pictures.images,
        test=None if more is None else more.images,
        train_labels=labels,
        test_labels=more_labels,
        source=source,
        num_resized=pictures.num_resized + (0 if more is None else more.num_resized),
        skipped=pictures.skipped + (() if more is None else more.skipped),
        paths=pictures.paths,
        test_paths=None if more is None else more.paths,
        notes=pictures.notes + (() if more is None else more.notes),
    )
