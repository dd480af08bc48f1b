"""Make the hostile files beside this script: python tests/attacks/make.py

Each is made of something sound. `attacks.json` says of each what it attacks, and what its refusal
says. They are kept as files, so that what once did harm is tried as it was, whatever becomes of the
writers.
"""

import io
import json
import lzma
import math
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "benchmarks")]
from coders import random_model  # noqa: E402
from model_fuzz import File  # noqa: E402
from oracle import random_weights  # noqa: E402

from convae.architecture.plan import Architecture  # noqa: E402
from convae.coding.archive import MAGIC, ArchiveWriter  # noqa: E402
from convae.jobs.anomaly.edges import num_edge_features  # noqa: E402
from convae.storage.modelfile import FittedJob, ModelContents, write_model  # noqa: E402

ARCHITECTURE = Architecture(8, 8, 1, (1,), 1)


def sound(folder):
    """A small model with a detector and the contexts of a codec, as parts to be changed."""
    size = num_edge_features(ARCHITECTURE.image_shape)
    random = np.random.default_rng(0)
    tables = {
        "edges_mean": np.zeros(size, np.float32),
        "edges_components": np.eye(1, size, dtype=np.float32),
        "reference_edges": random.random((3, 1), np.float32),
        "reference_latents": random.random((3, 1), np.float32),
        "latent_mean": np.zeros(1),
        "latent_precision": np.ones((1, 1)),
        "calibration_scores": np.zeros(4),
    }
    settings = {
        "false_alarm_rate": 0.5, "calibration_fraction": 0.2, "most_anomalies": 0.0, "seed": 0,
    }  # fmt: skip
    choice = {
        "score": "neighbors", "reason": "", "aurocs": {}, "cheap_aurocs": {}, "correlation": 0.0,
        "centers": {"neighbors": 0.0}, "scales": {"neighbors": 1.0},
    }  # fmt: skip
    sections = {"settings": settings, "choice": choice, "heat_units": {"edges": 1.0}}
    weights = random_weights(ARCHITECTURE, 0)
    training = {"options": {}, "history": []}
    job = FittedJob(sections, tables)
    contents = ModelContents(
        ARCHITECTURE, weights, {"channel_axis": True}, {}, training, {}, {"anomalies": job}
    )
    path = Path(folder) / "sound.safetensors"
    write_model(path, contents)
    return File.of(path.read_bytes())


def _with_table(name, array, kind="F32"):
    def make(file):
        file.tensors[f"anomalies/{name}"] = (kind, list(array.shape), array.tobytes())
        return file.to_bytes()

    return make


def _with_document(*path, value):
    def make(file):
        place = file.document
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        return file.to_bytes()

    return make


def _with_architecture(numbers):
    """All weights of an architecture, whatever its bounds."""

    def make(file):
        architecture = object.__new__(Architecture)
        for name, value in numbers.items():
            object.__setattr__(architecture, name, value)
        file.tensors = {
            name: ("F32", list(shape), bytes(4 * math.prod(shape)))
            for name, shape in architecture.weight_shapes().items()
        }
        file.document["architecture"] = numbers
        del file.document["jobs"]
        return file.to_bytes()

    return make


def _archive(name=b"model", model=None):
    coding = random_model()
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, coding, "x", with_model=True)
    writer.add(np.zeros((1, 8, 8, 1), np.uint8))
    writer.close()
    data = stream.getvalue()
    # The header again, with another name behind the version and the identity.
    (length,) = struct.unpack_from("<I", data, len(MAGIC) + 1)
    place = len(MAGIC) + 9
    payload = data[place : place + 33] + name
    head = struct.pack("<cII", b"H", len(payload), zlib.crc32(payload, zlib.crc32(b"H")))
    rest = data[place + length :]
    if model is not None:
        head_of_model = struct.pack("<cII", b"M", len(model), zlib.crc32(model, zlib.crc32(b"M")))
        rest = head_of_model + model
    return MAGIC + head + payload + rest


def _packed(numbers, num_bytes):
    """A packed model of latents, of zeros."""
    body = lzma.compress(
        bytes(num_bytes), format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}]
    )
    return b"L" + struct.pack(f"<B{len(numbers)}I", len(numbers), *numbers) + body


def _npz(*names):
    stream = io.BytesIO()
    array = io.BytesIO()
    np.save(array, np.zeros((2, 8, 8), np.uint8))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, array.getvalue())
    return stream.getvalue()


def _npz_bomb():
    stream = io.BytesIO()
    header = io.BytesIO()
    shape = (2**15, 2**11, 2**10)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(2**21))
    data = bytearray(stream.getvalue())
    # The size that the archive states, in its directory: 4 GiB less one, the most it can.
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = b"\xff\xff\xff\xff"
    return bytes(data)


_FEW = {**ARCHITECTURE.to_json(), "height": 32_768, "width": 32_768, "filters": [1] * 9}
_GIANT = {**_FEW, "height": 65_536, "width": 65_536, "channels": 4, "filters": [1] * 11}

# What each file attacks, what the refusal says, and what makes it of a sound model.
ATTACKS = {
    "volumes_of_80_gib.safetensors": (
        "memory: few weights, and images of 65,536 x 65,536 between the layers",
        'Between two layers of a network there may be at most 67,108,864 numbers',
        _with_architecture(_GIANT),
    ),
    "volumes_of_one_filter.safetensors": (
        "memory: one filter a stage, images of 32,768 x 32,768",
        'Between two layers of a network there may be at most 67,108,864 numbers',
        _with_architecture(_FEW),
    ),
    "mean_without_axes.safetensors": (
        "a table that is a single number where a vector is indexed",
        'edges_mean must be a float32 array of shape (192,); received float32 of shape ()',
        _with_table("edges_mean", np.float32(0)),
    ),
    "references_without_axes.safetensors": (
        "a table that is a single number where rows are counted",
        'reference_edges must be a float32 array of shape (3, 1); received float32 of shape ()',
        _with_table("reference_edges", np.float32(0)),
    ),
    "no_references.safetensors": (
        "a nearest neighbor of none",
        'reference_edges must be a float32 array of shape (3, 1); received float32 of shape (0, 1)',
        _with_table("reference_edges", np.zeros((0, 1), np.float32)),
    ),
    "no_components.safetensors": (
        "products with a side of zero",
        'received float32 of shape (0, 192)',
        _with_table("edges_components", np.zeros((0, 192), np.float32)),
    ),
    "no_calibration.safetensors": (
        "a p-value among no scores",
        'calibration_scores must be a float64 array of shape (calibration images,)',
        _with_table("calibration_scores", np.zeros(0), "F64"),
    ),
    "precision_overflows.safetensors": (
        "infinite scores from finite tables",
        'latent_precision must hold numbers from -1e+30 to 1e+30',
        _with_table("latent_precision", np.full((1, 1), 1e308), "F64"),
    ),
    "references_overflow.safetensors": (
        "NaN distances from finite tables",
        'reference_edges must hold numbers from -10 to 10',
        _with_table("reference_edges", np.full((3, 1), 3e38, np.float32)),
    ),
    "scale_of_nearly_zero.safetensors": (
        "an infinite score: a deviation over the smallest number there is",
        'scales must be numbers from 1e-30 to 1e+09',
        _with_document("jobs", "anomalies", "choice", "scales", "neighbors", value=5e-324),
    ),
    "huge_center.safetensors": (
        "a score that overflows",
        'centers must be numbers from -1e+09 to 1e+09',
        _with_document("jobs", "anomalies", "choice", "centers", "neighbors", value=1.7e308),
    ),
    "endless_reason.safetensors": (
        "a message of 100,000 characters",
        'A reason must be text of at most 1,000 characters',
        _with_document("jobs", "anomalies", "choice", "reason", value="x" * 100_000),
    ),
    "cheap_without_own.safetensors": (
        "a look-up of a score that is not there",
        "aurocs must have the score 'neighbors'",
        _with_document("jobs", "anomalies", "choice", "cheap_aurocs", value={"pixels": 0.5}),
    ),
    "long_model_name.cae": (
        "memory and messages: a name for the model of 100,000 bytes",
        'a header of 100,033 bytes, which is too long',
        lambda _: _archive(b"x" * 100_000),
    ),
    "decoder_of_giant_images.cae": (
        "memory: a packed decoder for images of 65,536 x 65,536",
        'Between two layers of a network there may be at most 67,108,864 numbers',
        lambda _: _archive(model=_packed([65_536, 65_536, 1, 1, *[1] * 11], 8001)),
    ),
    "decoder_without_codes.cae": (
        "a packed decoder with no code, or with no filter",
        'each of filters must be from 1 to 65536; received 0',
        lambda _: _archive(model=_packed([8, 8, 1, 0, 0], 3000)),
    ),
    "names_twice.npz": (
        "an array that is checked, and another by its name that is read",
        'it holds a name twice',
        lambda _: _npz("images.npy", "images"),
    ),
    "promises_64_gib.npz": (
        "memory: an array that states 64 GiB",
        'reading it gave',
        lambda _: _npz_bomb(),
    ),
    "promises_4_gib-idx3-ubyte": (
        "memory: a header of IDX that states 4 GiB",
        'its header promises 4,294,967,296 bytes, which it cannot hold',
        lambda _: struct.pack(">BBBB3I", 0, 0, 8, 3, 2**20, 64, 64),
    ),
}  # fmt: skip


def make(folder):
    """Write all of them."""
    for name, (_, _, attack) in ATTACKS.items():
        data = attack(sound(folder))
        (Path(folder) / name).write_bytes(data)
    (Path(folder) / "sound.safetensors").unlink()
    lines = {name: [line, text] for name, (line, text, _) in ATTACKS.items()}
    (Path(folder) / "attacks.json").write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(HERE)
