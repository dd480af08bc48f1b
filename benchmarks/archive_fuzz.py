"""Archives that someone changed: each must be refused, or give the very pixels that were packed.

    python benchmarks/archive_fuzz.py            # 200,000 changed archives; an hour on 2 cores
    python benchmarks/archive_fuzz.py --quick    # 1,000; writes no result

Small archives of every sort (by contexts in gray, color and 16 bits, stored, by latents, in tiles,
with and without the model inside) are changed at random: bits, bytes, numbers at their limits,
pieces cut out, doubled, swapped or cut off. Half of them are given correct checksums again, record
by record, as an attacker would. Each is opened, and all of its images are decoded. Whatever else
happens than a `ModelFileError` or the right pixels ends the run.

Each half is a process of its own. `slowest_s` is of processor time. `peak_mib` is by how much its
resident memory, at the most, was above what it was when the first archive had been read.
"""

import argparse
import io
import json
import pickle
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from results import peak_mib, publish

from convae import ConvAutoencoder, ImageCodec, load_dataset
from convae.coding import tiling
from convae.coding.archive import ArchiveWriter, ImageArchive
from convae.coding.blocks import Model
from convae.coding.records import END, MAGIC
from convae.errors import ModelFileError

NUM_CHANGED, NUM_QUICK = 200_000, 1_000
LIMITS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
RECORD, TRAILER = 9, 12

Archive = tuple[bytes, Model, NDArray[Any]]


def make_archives(folder: Path) -> list[Archive]:
    """Archives of the middles of a few digits, the model of each, and what they decode to."""
    digits = np.ascontiguousarray(load_dataset("digits").train[:24, 10:18, 10:18])
    color = np.concatenate([digits, digits[::-1], 255 - digits], axis=3)
    deep = (digits.astype(np.uint16) << 8) + 3 * digits[::-1]
    tiny = ConvAutoencoder(filters=(2,), latent_dim=2, epochs=1)
    archives = []
    for images, given in ((digits, digits), (color, color), (deep, deep / np.float32(65_535))):
        codec = ImageCodec(tiny).fit(given)
        for options in ({}, {"max_error": 5}, {"with_model": True}, {"tiny": True}):
            if "tiny" in options and images is not digits:
                continue
            path = folder / "x.cae"
            names = [f"{index}.png" for index in range(len(images))]
            codec.compress(images[:4], path, names=names[:4], **options)
            model: Model = codec.latents_ if "tiny" in options else codec.contexts_
            archives.append((path.read_bytes(), model, read(path.read_bytes(), model, folder)))
        # Six tiles, of which the last ones reach beyond the picture.
        with patch.multiple(tiling, MOST_BYTES_WHOLE=64, TILE_SIDE=8):
            codec.compress(np.tile(images[0], (2, 2, 1))[np.newaxis, :15, :13], path)
        data = path.read_bytes()
        archives.append((data, codec.contexts_, read(data, codec.contexts_, folder)))
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, archives[0][1], "model")
    noise = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 1)).astype(np.uint8)
    writer.add(noise)
    writer.close()
    archives.append((stream.getvalue(), archives[0][1], noise))
    return archives


def read(data: bytes, model: Model, folder: Path) -> NDArray[Any]:
    """All images of an archive."""
    path = folder / "read.cae"
    path.write_bytes(data)
    with ImageArchive(path, [model]) as archive:
        return np.concatenate([images for images, _ in archive.read()])


def change(data: bytes, chance: random.Random) -> bytes:
    """An archive changed in one to four places."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) or 1)
        end = min(len(changed), place + chance.randint(1, 40))
        kind = chance.randrange(7)
        if not changed:
            break
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place] = chance.randrange(256)
        elif kind == 2:
            number = struct.pack("<I", chance.choice(LIMITS))[: chance.choice((1, 2, 4))]
            changed[place : place + len(number)] = number
        elif kind == 3:
            del changed[place:end]
        elif kind == 4:
            changed[place:place] = changed[place:end]
        elif kind == 5:
            other = chance.randrange(len(changed))
            piece = changed[other : other + end - place]
            changed[place : place + len(piece)] = piece
        else:
            del changed[chance.choice((place, len(changed) - chance.randint(1, 20))) :]
    return bytes(changed)


def mend(data: bytes) -> bytes:
    """The records that can be told apart, with correct checksums, and the end that fits them."""
    stream, place, start = io.BytesIO(), len(MAGIC), 0
    stream.write(MAGIC)
    while place + RECORD <= len(data) - TRAILER:
        kind = data[place : place + 1]
        (length,) = struct.unpack_from("<I", data, place + 1)
        payload = data[place + RECORD : place + RECORD + length]
        start = stream.tell()
        stream.write(struct.pack("<cII", kind, len(payload), zlib.crc32(payload, zlib.crc32(kind))))
        stream.write(payload)
        place += RECORD + length
    return stream.getvalue() + struct.pack("<Q4s", start, END)


def fuzz(archives: list[Archive], count: int, *, mended: bool, folder: Path) -> dict[str, Any]:
    """Change archives, and read what becomes of them."""
    chance = random.Random(int(mended))  # noqa: S311 # no secrets
    refused = right = 0
    slowest = 0.0
    read(*archives[0][:2], folder)
    before = peak_mib()
    for number in range(count):
        data, model, images = archives[number % len(archives)]
        changed = change(data, chance)
        if mended:
            changed = mend(changed)
        started = time.process_time()
        try:
            found = read(changed, model, folder)
        except ModelFileError:
            refused += 1
        else:
            if not np.array_equal(found, images):
                raise SystemExit(f"Wrong pixels from change {number}, mended: {mended}.")
            right += 1
        slowest = max(slowest, time.process_time() - started)
    return {
        "checksums": "mended" if mended else "as they were",
        "changed": count,
        "refused": refused,
        "right_pixels": right,
        "slowest_s": slowest,
        "peak_mib": peak_mib() - before,
    }


def main() -> None:
    """Change, open, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    parser.add_argument("--half", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.half:
        path, count, mended = given.half
        archives = pickle.loads(Path(path).read_bytes())  # noqa: S301 # written by `main`
        with tempfile.TemporaryDirectory() as name:
            row = fuzz(archives, int(count), mended=mended == "mended", folder=Path(name))
        print(json.dumps(row))
        return
    count = NUM_QUICK if given.quick else NUM_CHANGED
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "archives.pickle"
        path.write_bytes(pickle.dumps(make_archives(Path(name))))
        halves = [
            subprocess.Popen(
                [sys.executable, __file__, "--half", str(path), str(count // 2), which],
                stdout=subprocess.PIPE,
            )
            for which in ("mended", "not")
        ]
        answers = [half.communicate()[0] for half in halves]
    if any(half.returncode for half in halves):
        raise SystemExit("An archive was neither refused nor right.")
    rows = [json.loads(answer) for answer in answers]
    headline = {
        "changed_archives": sum(row["changed"] for row in rows),
        "wrong_pixels": 0,
        "slowest_s": max(row["slowest_s"] for row in rows),
        "peak_mib": max(row["peak_mib"] for row in rows),
    }
    publish("archive_fuzz", headline, rows, [0], quick=given.quick)


if __name__ == "__main__":
    main()
