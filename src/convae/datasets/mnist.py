"""Find MNIST: a folder of the user, the cache, or one download; it decodes nothing itself."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convae.datasets.arrays import Arrays, read_idx_folder, read_npz
from convae.errors import DataUnavailableError
from convae.storage.files import printable

DATA_VARIABLE = "CONVAE_DATA"
FILE_NAME = "mnist.npz"
# The file that keras.datasets.mnist loads.
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0


def load_mnist() -> tuple[Arrays, str]:
    """MNIST as arrays (60,000 and 10,000 images of 28 x 28, uint8), and where it came from.

    Raises:
        DataUnavailableError: It is nowhere and cannot be downloaded.
        DataError: The user's own file is damaged.
    """
    hint = f"{DATA_VARIABLE} is not set"
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        arrays = read_folder(Path(folder))
        if arrays is not None:
            return arrays, f"MNIST in {printable(folder)}"
        hint = f"{DATA_VARIABLE} is {printable(folder)}, which holds no MNIST"
    try:
        path = _fetch()
    except (OSError, ValueError) as error:
        raise DataUnavailableError(
            f"MNIST must be on this machine or be downloadable once; {hint}, and the download "
            f"gave '{_short(error)}'. Set {DATA_VARIABLE} to a folder with {FILE_NAME}, or go "
            f"online once, or use the digits that ship with scikit-learn: convae train digits"
        ) from error
    return read_npz(path), f"MNIST, {URL}"


def read_folder(folder: Path) -> Arrays | None:
    """MNIST from mnist.npz or the four IDX files of a folder, or None if it has neither.

    Raises:
        DataError: A file is damaged.
    """
    path = folder / FILE_NAME
    if path.is_file():
        return read_npz(path)
    return read_idx_folder(folder)


def _fetch() -> Path:
    """The file in the cache, downloaded when it is not there or not what it should be.

    Raises:
        OSError: The cache cannot be written, or the server cannot be reached.
        ValueError: What came is not the file.
    """
    # Only here: pooch brings a whole HTTP client.
    import pooch

    with contextlib.ExitStack() as answers, _quiet(pooch.get_logger()):

        def note(answer: Any, **_: object) -> None:  # noqa: ANN401 (a class of pooch's client)
            # pooch leaves an answer open when it is refused or breaks off.
            answers.callback(answer.close)

        downloader = pooch.HTTPDownloader(
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), hooks={"response": note}
        )
        path = pooch.retrieve(
            URL,
            f"sha256:{SHA256}",
            fname=FILE_NAME,
            path=pooch.os_cache("convae"),
            downloader=downloader,
        )
    return Path(path)


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _short(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    return text if len(text) <= 160 else f"{text[:157]}..."
