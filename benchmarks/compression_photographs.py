"""Small tiles of color photographs in files without loss, beside other formats.

    python benchmarks/compression_photographs.py            # three seeds; half an hour on 2 cores
    python benchmarks/compression_photographs.py --quick    # few steps, one seed; writes no result

The pictures are those that come with scikit-image and scikit-learn, at half their size, in tiles of
32 x 32. The codec learns from the left three quarters of six of them, at half and at full size, and
is judged on the right quarters ("seen") and on two other photographs, a cat and a flower
("unseen"). A bit a byte is over three bytes a pixel. Sizes are of whole files, header and index
included, without the model, whose size, packed, is in the headline: below `break_even_tiles`
tiles PNG is smaller if the model is counted. `kind` is as in `compression`: sheets hold as many
tiles as fit in a square. With `--rows FILE` rows are kept there too, and none is measured anew;
with `--part NAME` as well, only those of ours or of the peers.
"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from compression import ALL, OURS, PEERS, SHEET, SINGLE, kept_exactly
from numpy.typing import NDArray
from PIL import Image
from results import keep_rows, kept_rows, publish, row_options
from skimage import data as skimage_data
from sklearn.datasets import load_sample_image

from convae import ConvAutoencoder, ImageCodec

Images = NDArray[np.uint8]
Row = dict[str, Any]

SEEDS = [0, 1, 2]
SIDE = 32
SEEN, UNSEEN = "seen", "unseen"


def tiles(picture: Images) -> Images:
    """All whole tiles of a picture."""
    rows, columns = picture.shape[0] // SIDE, picture.shape[1] // SIDE
    parts = picture[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, 3)
    return parts.transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)


def half(picture: Images) -> Images:
    """A picture at half its size."""
    height, width, _ = picture.shape
    size = width // 2, height // 2
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def photographs() -> list[Images]:
    """Those that are learned from, whole."""
    data: Any = skimage_data  # untyped
    names = "astronaut", "coffee", "immunohistochemistry", "rocket"
    seen: list[Images] = [getattr(data, name)() for name in names]
    return [*seen, data.stereo_motorcycle()[0], load_sample_image("china.jpg")]


def pictures() -> tuple[Images, dict[str, Images]]:
    """Tiles to learn from, and tiles to be judged on."""
    learned, kept = [], []
    for picture in photographs():
        for one in (picture, half(picture)):
            cut = one.shape[1] * 3 // 4 // SIDE * SIDE
            shift = SIDE // 2
            learned += [tiles(one[:, :cut]), tiles(one[shift:, shift:cut])]
        kept.append(tiles(one[:, cut:]))
    data: Any = skimage_data  # untyped
    others = [tiles(half(picture)) for picture in (data.cat(), load_sample_image("flower.jpg"))]
    return np.concatenate(learned), {SEEN: np.concatenate(kept), UNSEEN: np.concatenate(others)}


def square(images: Images) -> Images:
    """As many tiles as fill a square, as one picture."""
    side = int(len(images) ** 0.5)
    parts = images[: side**2].reshape(side, side, SIDE, SIDE, 3)
    return parts.transpose(0, 2, 1, 3, 4).reshape(1, side * SIDE, side * SIDE, 3)


def row(part: str, method: str, kind: str, num_bytes: float, images: Images) -> Row:
    """One row of the table."""
    return {
        "part": part,
        "method": method,
        "kind": kind,
        "seed": 0,
        "tiles": len(images) if kind != SHEET else images.size // (3 * SIDE**2),
        "bits_a_byte": 8 * num_bytes / images.size,
        "model_bytes": 0,
    }


def ours(train: Images, judged: dict[str, Images], seed: int) -> Iterator[Row]:
    """Our archives, read again."""
    codec = ImageCodec(ConvAutoencoder(epochs=1, seed=seed), seed=seed).fit(train)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiles.cae"
        for part, images in judged.items():
            report = codec.compress(images, path)
            with codec.open(path) as archive:
                if not np.array_equal(np.stack(list(archive)), images):
                    raise SystemExit(f"{part}: other pixels came back.")
            yield row(part, "convae, lossless", ALL, report.num_bytes, images) | {
                "seed": seed,
                "model_bytes": report.model_bytes,
            }


def peers(judged: dict[str, Images]) -> Iterator[Row]:
    """What keeps every bit too."""
    for part, images in judged.items():
        for kind, files in ((SINGLE, images), (SHEET, square(images))):
            for method, found, num_bytes in kept_exactly(kind, files):
                yield row(part, method, found, num_bytes, files)


def summarize(rows: list[Row]) -> dict[str, float]:
    """The headline: means of our seeds, and the best of the others."""
    found: dict[str, float] = {}
    for part in (SEEN, UNSEEN):
        of_part = [row for row in rows if row["part"] == part]
        own = [row for row in of_part if row["method"].startswith("convae")]
        others = [row for row in of_part if not row["method"].startswith("convae")]
        found[f"{part}_bits_a_byte"] = statistics.mean(row["bits_a_byte"] for row in own)
        for name, kinds in (("single", [SINGLE]), ("together", [SHEET, ALL])):
            sizes = [row["bits_a_byte"] for row in others if row["kind"] in kinds]
            found[f"{part}_best_peer_{name}"] = min(sizes)
    model_bytes = statistics.mean(row["model_bytes"] for row in own)
    png = next(
        row["bits_a_byte"] for row in rows
        if (row["part"], row["method"], row["kind"]) == (SEEN, "PNG", SINGLE)
    )  # fmt: skip
    saved = (png - found[f"{SEEN}_bits_a_byte"]) / 8 * 3 * SIDE**2
    return found | {"model_bytes": model_bytes, "break_even_tiles": model_bytes / saved}


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    given = row_options(__doc__, "--part", choices=[OURS, PEERS])
    train, judged = pictures()
    if given.quick:
        train, judged = train[:200], {part: images[:40] for part, images in judged.items()}
    rows = kept_rows(given.rows)
    done = {(found["method"].startswith("convae"), found["seed"]) for found in rows}

    def take(found: Iterator[Row]) -> None:
        for measured in found:
            keep_rows(given.rows, [measured])
            rows.append(measured)
            print(measured, flush=True)

    seeds = SEEDS[:1] if given.quick else SEEDS
    for seed in seeds:
        if given.part != PEERS and (True, seed) not in done:
            take(ours(train, judged, seed))
    if given.part != OURS and (False, 0) not in done:
        take(peers(judged))
    if given.part:
        return
    publish("compression_photographs", summarize(rows), rows, seeds, quick=given.quick)


if __name__ == "__main__":
    main()
