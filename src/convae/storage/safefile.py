"""One file of tensors and one JSON document, written whole and checked byte by byte when read.

It holds no pickle and no code, and it does not know what the tensors mean: the model file
(`convae.storage.modelfile`) and the checkpoints of training do. Any safetensors library can read
the file.
"""

import hashlib
import io
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as quote  # bounded: a hostile name may have a million characters
from typing import Any, BinaryIO, NoReturn

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from convae.errors import ModelFileError, ParameterError
from convae.storage.files import write_whole
from convae.storage.strictjson import parse_object

FORMAT = "convae"
FORMAT_VERSION = 1
LARGEST_FILE_BYTES = 2 * 1024**3
LARGEST_HEADER_BYTES = 1024**2
MOST_AXES = 8
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
}

_RESERVED = ("format", "format_version", "sha256")
_ZEROS = "0" * 64
_GET_AGAIN = "Get the file again from whoever made it."
_NOT_OURS = "If another program wrote the file, open it there; if convae did, get it again."
_UPGRADE = "Upgrade convae to read this file: pip install --upgrade convae."

Tensors = dict[str, NDArray[Any]]


class _Refused(Exception):
    """A broken rule and what was received, without the path; it never leaves this module."""

    def __init__(self, problem: str, remedy: str = _GET_AGAIN) -> None:
        super().__init__(problem)
        self.remedy = remedy


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    document: Mapping[str, object],
) -> None:
    """Write tensors and a document so that the same input gives the same bytes.

    Args:
        path: Output path; the file appears only when complete.
        tensors: Arrays by name: float32, float64, int32, int64, uint8, uint32 or uint64, of at
            most 8 axes, every float finite.
        document: JSON values under `str` keys, at most 32 levels deep; lists, not tuples. The
            keys `format`, `format_version` and `sha256` are the file's own.

    Raises:
        ParameterError: The tensors or the document do not fit the format.
        OutputError: The file cannot be written.
    """
    arrays = _plain_arrays(tensors)
    plain = _plain_json(document)
    # The second pass differs from the first in the 64 digits alone.
    digest = hashlib.sha256(_assemble(arrays, plain, _ZEROS)).hexdigest()
    data = _assemble(arrays, plain, digest)
    try:
        _decode(io.BytesIO(data), len(data))
    except _Refused as refused:
        raise ParameterError(
            f"What is written must be readable again, but {refused}. "
            f"Change the tensors or the document."
        ) from refused
    write_whole(path, data)


def read_tensors(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, object]]:
    """Read what `write_tensors` wrote; the file may be damaged or hostile.

    Args:
        path: A file, at most 2 GiB.

    Returns:
        Arrays by name, writable, independent of each other and in the machine's byte order,
        every float finite; and the document.

    Raises:
        ModelFileError: The file is missing, is not ours, breaks a rule or is newer than this
            program.
    """
    tensors, document, _ = _read(path)
    return tensors, document


def file_identity(path: str | os.PathLike[str]) -> str:
    """The checksum that names a file of ours: 64 lower-case hexadecimal digits.

    Raises:
        ModelFileError: As `read_tensors`.
    """
    return _read(path)[2]


def _plain_arrays(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    kinds = {dtype.name: dtype for dtype in DTYPES.values()}
    arrays: Tensors = {}
    for name, array in tensors.items():
        if not isinstance(name, str) or not name.isprintable():
            raise ParameterError(
                f"A tensor's name must be printable text; received {name!r}. Rename it."
            )
        if not isinstance(array, np.ndarray) or array.dtype.name not in kinds:
            raise ParameterError(
                f"Tensor {name!r} must be a NumPy array of one of {sorted(kinds)}; received "
                f"{getattr(array, 'dtype', type(array).__name__)}. Convert it with astype."
            )
        # Not ascontiguousarray, which turns a scalar into a vector.
        arrays[name] = np.asarray(array, dtype=kinds[array.dtype.name], order="C")
    return arrays


def _plain_json(document: Mapping[str, object]) -> dict[str, object]:
    reserved = sorted(set(document).intersection(_RESERVED))
    if reserved:
        raise ParameterError(
            f"A document must leave the keys {list(_RESERVED)} to the file; received {reserved}. "
            f"Use other keys."
        )
    try:
        plain = parse_object(json.dumps(dict(document)).encode(), "a document")
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"A document must be made of JSON values; received one that gave '{error}'. "
            f"Convert arrays and NumPy numbers to lists and numbers first."
        ) from error
    if plain != document:
        raise ParameterError(
            "A document must come back as it was given; received tuples, or keys that are not "
            "str. Use lists and str keys."
        )
    return plain


def _assemble(arrays: Tensors, document: dict[str, object], digest: str) -> bytes:
    own = {"format": FORMAT, "format_version": FORMAT_VERSION, "sha256": digest}
    text = json.dumps({**document, **own}, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return safetensors.numpy.save(arrays, {"convae": text})


def _read(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, object], str]:
    try:
        _check_regular(Path(path))
        with Path(path).open("rb") as stream:
            return _decode(stream, os.fstat(stream.fileno()).st_size)
    except _Refused as refused:
        raise ModelFileError(f"{path} cannot be used: {refused}. {refused.remedy}") from refused
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path} cannot be used: a model or checkpoint must exist; received no such file. "
            f"Check the path."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path that holds a null character
        raise ModelFileError(
            f"{os.fspath(path)!r} cannot be used: a model or checkpoint must be readable; received "
            f"'{getattr(error, 'strerror', None) or error}'. Check the path and its "
            f"permissions."
        ) from error


def _check_regular(path: Path) -> None:
    # Before opening: opening a pipe would wait for its writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise _Refused(
            "a model or checkpoint must be a regular file; received a folder, a pipe or a device",
            "Give the path of the file itself.",
        )


def _decode(stream: BinaryIO, size: int) -> tuple[Tensors, dict[str, object], str]:
    """Check everything in the order that docs/format.md states."""
    if not 8 <= size <= LARGEST_FILE_BYTES:
        raise _Refused(f"a file must have 8 to {LARGEST_FILE_BYTES} bytes; received {size}")
    prefix = stream.read(8)
    length = int.from_bytes(prefix, "little")
    most = min(LARGEST_HEADER_BYTES, size - 8)
    if length > most:
        raise _Refused(
            f"the header of this file must have at most {most} bytes; received {length}", _NOT_OURS
        )
    raw = stream.read(length)
    header = _parse(raw, "the header")
    document, digest = _document(header.pop("__metadata__", None))

    place = raw.find(digest.encode())
    if place < 0 or raw.find(digest.encode(), place + 1) >= 0:
        raise _Refused(f"the header must spell sha256 exactly once; received {digest} otherwise")
    body = stream.read(size - 8 - length)
    computed = hashlib.sha256(prefix + raw[:place] + _ZEROS.encode() + raw[place + 64 :])
    computed.update(body)
    if computed.hexdigest() != digest:
        raise _Refused(
            f"a file must have the checksum that it states; received {digest} on a file whose "
            f"checksum is {computed.hexdigest()}: it was changed or damaged"
        )

    layout = {name: _entry(name, entry) for name, entry in header.items()}
    _check_order(layout, len(body))
    return {name: _load(name, body, *spot) for name, spot in layout.items()}, document, digest


def _parse(raw: bytes, what: str) -> dict[str, Any]:
    try:
        return parse_object(raw, what)
    except ModelFileError as error:
        raise _Refused(str(error), _NOT_OURS) from error


def _refuse(rule: str, received: object, remedy: str = _GET_AGAIN) -> NoReturn:
    raise _Refused(f"{rule}; received {quote(received)}", remedy)


def _document(metadata: object) -> tuple[dict[str, object], str]:
    """The document without the file's own keys, and the checksum it states."""
    if (
        not isinstance(metadata, dict)
        or set(metadata) != {"convae"}
        or not isinstance(metadata["convae"], str)
    ):
        _refuse("__metadata__ must hold one key, 'convae', with text", metadata, _NOT_OURS)
    document = _parse(metadata["convae"].encode("utf-8"), "the document in __metadata__")
    name = document.pop("format", None)
    if name != FORMAT:
        _refuse(f"format must be {FORMAT!r}", name, _NOT_OURS)
    version = document.pop("format_version", None)
    if type(version) is not int or version < 1:
        _refuse("format_version must be an integer from 1", version)
    if version != FORMAT_VERSION:
        _refuse(f"format_version must be {FORMAT_VERSION} for this program", version, _UPGRADE)
    digest = document.pop("sha256", None)
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        _refuse("sha256 must be 64 lower-case hexadecimal digits", digest)
    return document, digest


def _entry(name: str, entry: object) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """Data type, shape, first byte and byte after the last of one tensor."""
    label = f"tensor {quote(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(f"{label} must have exactly dtype, shape and data_offsets", entry)
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        _refuse(f"{label} must have a dtype of {list(DTYPES)}", kind)
    if not _naturals(shape) or len(shape) > MOST_AXES:
        _refuse(f"{label} must have a shape of at most {MOST_AXES} integers from 0", shape)
    itemsize = DTYPES[kind].itemsize
    # Zeros count as ones: NumPy bounds the product of the other axes even beside a zero.
    if math.prod(max(side, 1) for side in shape) * itemsize > LARGEST_FILE_BYTES:
        _refuse(f"{label} must have a shape of at most {LARGEST_FILE_BYTES} bytes", shape)
    num_bytes = math.prod(shape) * itemsize
    if not _naturals(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != num_bytes:
        _refuse(
            f"{label} must have data_offsets [begin, end] that span the {num_bytes} bytes of its "
            f"shape",
            offsets,
        )
    return DTYPES[kind], tuple(shape), offsets[0], offsets[1]


def _naturals(values: object) -> bool:
    # In Python, but not in JSON, true and false are integers.
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_order(
    layout: dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]], num_bytes: int
) -> None:
    expected = 0
    for begin, end in sorted((begin, end) for _, _, begin, end in layout.values()):
        if begin != expected:
            raise _Refused(
                f"tensors must follow each other without a gap or an overlap; received one that "
                f"begins at byte {begin} where {expected} comes next"
            )
        expected = end
    if expected != num_bytes:
        raise _Refused(
            f"tensors must fill the file to its end; received {num_bytes} bytes of data for "
            f"{expected} announced"
        )


def _load(
    name: str, body: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], begin: int, end: int
) -> NDArray[Any]:
    stored = np.frombuffer(memoryview(body)[begin:end], dtype)
    array = stored.reshape(shape).astype(dtype.newbyteorder("="))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        num_bad = np.count_nonzero(~np.isfinite(array))
        raise _Refused(
            f"tensor {quote(name)} must hold finite numbers; received {num_bad} that are not"
        )
    return array
