"""What memory an archive takes to write and to read, as its images grow to a million.

    python benchmarks/archive_scaling.py            # some ten minutes on 2 cores
    python benchmarks/archive_scaling.py --quick    # thousands of images; writes no result

Every second row and column of varied digits, 14 x 14 pixels made a few thousand at a time from a
seed, are packed without loss by a codec that learned from the first few thousand, and read back,
each image held against what was packed. Each measurement is a process of its own, on Linux, that
loads the codec from its file. `peak_anonymous_mb` is the most of RssAnon, as in `scaling`; making
the images is in the seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import publish
from scaling import SEED, peak_of, varied_digits

from convae import ConvAutoencoder, ImageCodec

COUNTS = (10_000, 100_000, 1_000_000)
QUICK_COUNTS = (2_000, 8_000)
LEARNED = 4096

Row = dict[str, Any]


def small_digits(count: int) -> Iterator[NDArray[np.uint8]]:
    """Varied digits at half their size, in parts."""
    for part in varied_digits(count):
        yield np.ascontiguousarray(part[:, ::2, ::2])


def fit(path: Path) -> None:
    """A codec, in a file."""
    (images,) = small_digits(LEARNED)
    autoencoder = ConvAutoencoder(filters=(8, 16), latent_dim=8, epochs=1, seed=SEED)
    ImageCodec(autoencoder, seed=SEED).fit(images).save(path)


def measure(model: Path, archive: Path, count: int) -> Row:
    """Pack and read so many images."""
    codec = ImageCodec.load(model)
    started = time.perf_counter()
    with peak_of("RssAnon") as writing:
        report = codec.compress(((part, ()) for part in small_digits(count)), archive)
    written = time.perf_counter()
    num_right = 0
    with peak_of("RssAnon") as reading, codec.open(archive) as opened:
        expected = small_digits(count)
        waiting = np.empty((0, 14, 14, 1), np.uint8)
        for images, _ in opened.read():
            while len(waiting) < len(images):
                waiting = np.concatenate([waiting, next(expected)])
            if not np.array_equal(images, waiting[: len(images)]):
                raise SystemExit(f"Other pixels came back after {num_right:,} images.")
            waiting = waiting[len(images) :]
            num_right += len(images)
    if num_right != count:
        raise SystemExit(f"{num_right:,} images came back of {count:,}.")
    return {
        "images": count,
        "bytes_an_image": report.num_bytes / count,
        "write_s": written - started,
        "read_s": time.perf_counter() - written,
        "peak_writing_mb": writing[0],
        "peak_reading_mb": reading[0],
    }


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        model, archive, count = given.measure
        print(json.dumps(measure(Path(model), Path(archive), int(count))))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        fit(model)
        for count in QUICK_COUNTS if given.quick else COUNTS:
            command = [sys.executable, __file__, "--measure", model, Path(folder) / "x.cae", count]
            done = subprocess.run(
                [str(word) for word in command], check=True, stdout=subprocess.PIPE
            )
            rows.append(json.loads(done.stdout))
            print(rows[-1], flush=True)
    most = rows[-1]
    headline = {
        "images": most["images"],
        "peak_writing_mb": most["peak_writing_mb"],
        "peak_reading_mb": most["peak_reading_mb"],
        "peak_growth": max(
            most[name] / rows[-2][name] for name in ("peak_writing_mb", "peak_reading_mb")
        ),
    }
    publish("archive_scaling", headline, rows, [SEED], quick=given.quick)


if __name__ == "__main__":
    main()
