"""MNIST's test images in files: bits a pixel without loss, and the error at few bytes an image.

    python benchmarks/compression.py            # three seeds; an hour on 2 cores
    python benchmarks/compression.py --quick    # few images and steps, one seed; writes no result

The codec learns from the training images; the test images are packed. All sizes are of whole files,
header and index included; a bit a pixel is over 784 pixels an image. `kind` says whether a file
holds one image, 100 of them on a sheet of 10 x 10, or all. Our archive gives any image without
those of other blocks, of some 670 images. `with model` has in the file all that decoding needs.

Beside it: PNG, JPEG, WebP, AVIF and JPEG XL, zlib, bz2 and xz at their best levels, PCA with 16
numbers, rounded to steps that add the same error and coded by how often each came in training, and
the counted contexts that need no network: a pixel given neighbors in 64, 16 or 8 levels, by counts
on the training images. The last two are ideal code lengths, without file or table. So is one more:
networks that see the image that the latents make beside a pixel's neighbors, and the latents
themselves, in bits a pixel; it says whether latents pay in coding without loss.

Images a second are medians of three runs in this process with all cores, on a machine that others
may have shared. With `--rows FILE` rows are kept there too, and none is measured anew; with
`--part NAME` as well, only those of ours or of the peers.
"""

import functools
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from results import keep_rows, kept_rows, publish, row_options

from convae import ConvAutoencoder, ImageCodec, load_dataset
from convae.baselines.formats import JPEG_XL_EFFORT, PER_IMAGE, FormatSizes
from convae.baselines.pca import fit_components
from convae.coding.contexts import ContextNetwork, exponentials
from convae.coding.samples import ContextSampler
from convae.coding.tiles import Tiles
from convae.images import to_float

Images = NDArray[np.uint8]
Row = dict[str, Any]

SEEDS = [0, 1, 2]
OURS, PEERS = "ours", "peers"
ALL, SHEET, SINGLE = "all in one", "sheet of 100", "one image"
MAX_ERRORS = (1, 2, 4, 8, 16, 32, 64, 127)
REFINEMENT_STEPS = 4
QUALITIES = (1, 5, 10, 20, 30, 50, 70, 90)
JPEG_XL_QUALITIES = (5, 20, 40, 60, 80)
PCA_STEPS = (2.0, 1.4, 1.0, 0.7, 0.5, 0.35)
# Neighbors, by row and column, and the levels that each is told in.
COUNTED = {
    "counts given W, N": (((0, -1), 64), ((-1, 0), 64)),
    "counts given W, N, NW, NE": (((0, -1), 64), ((-1, 0), 64), ((-1, -1), 16), ((-1, 1), 16)),
    "counts given W, N, NW, NE, WW, NN": (
        ((0, -1), 64), ((-1, 0), 64), ((-1, -1), 16), ((-1, 1), 16), ((0, -2), 8), ((-2, 0), 8),
    ),
}  # fmt: skip
# Of the counts of a context, the weight of what fewer neighbors say.
LEANING = 64.0
RUNS = 3
# So many times the bytes that a trial is judged on.
JUDGED = 32
PIXELS = 28 * 28


def row(method: str, kind: str, num_bytes: float, images: NDArray[Any], mse: float = 0.0) -> Row:
    """One row of the table."""
    return {
        "method": method,
        "kind": kind,
        "seed": 0,
        "bytes_an_image": num_bytes * PIXELS / images.size,
        "bits_a_pixel": 8 * num_bytes / images.size,
        "mse": mse,
        "encoded_a_second": None,
        "decoded_a_second": None,
    }


def ours(train: Images, test: Images, seed: int) -> Iterator[Row]:
    """Our archives of the test images, from the fewest bytes to all bits."""
    codec = ImageCodec(ConvAutoencoder(seed=seed), seed=seed).fit(train)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.cae"
        ways: dict[str, dict[str, Any]] = {
            "tiny": {"tiny": True, "refinement_steps": REFINEMENT_STEPS},
            "tiny, latents as encoded": {"tiny": True, "refinement_steps": 0},
            "tiny, with model": {"tiny": True, "refinement_steps": 0, "with_model": True},
            "lossless": {},
            "lossless, with model": {"with_model": True},
        }
        for error in MAX_ERRORS:
            ways[f"no pixel off by more than {error}"] = {"max_error": error}
        for name, options in ways.items():
            timed = name in ("tiny, latents as encoded", "lossless")
            write = functools.partial(codec.compress, test, path, **options)
            encoding = [seconds(write) for _ in range(RUNS if timed else 1)]
            report = encoding[-1][1]
            decoding = [seconds(lambda: read(codec, path)) for _ in range(RUNS if timed else 1)]
            found = decoding[-1][1]
            mse = float(np.square((found.astype(np.float64) - test) / 255).mean())
            if (name.startswith("lossless") and mse) or abs(mse - report.mse) > 1e-9:
                raise SystemExit(f"{name}: decoded images differ from those reported: MSE {mse}.")
            yield row(f"convae, {name}", ALL, report.num_bytes, test, mse) | {
                "seed": seed,
                "encoded_a_second": len(test) / statistics.median(t for t, _ in encoding),
                "decoded_a_second": len(test) / statistics.median(t for t, _ in decoding),
            }
            if name == "tiny, latents as encoded":
                latents_bytes = report.num_bytes
    if seed == SEEDS[0]:
        bits = bits_given_latents(codec, train, test, seed)
        num_bytes = bits * test.size / 8 + latents_bytes
        yield row("convae, latents and then the pixels, ideally", ALL, num_bytes, test)


def bits_given_latents(codec: ImageCodec, train: Images, test: Images, seed: int) -> float:
    """Bits a byte of a network that sees the latents' image too, of test bytes drawn at random."""
    # Not above: JAX looks for a module of this one's name while it is imported itself.
    from convae.jobs.codec.pixels import (
        BATCH_SIZE,
        MOST_STEPS,
        TRIAL_BYTES,
        bits_a_byte,
        look_up_decay,
    )
    from convae.nn.contexts import train_contexts

    stacks = []
    for images in (train, test):
        latents = codec.latents_.codes(codec.autoencoder_.transform(images))
        # Two rows of what is to come lie in the window of a plane that is decoded already.
        made = np.pad(codec.latents_.decoder.decode(latents), ((0, 0), (0, 2), (0, 0), (0, 0)))
        stacks.append(np.concatenate([made[:, 2:], images], axis=3))
    seen, judged = (ContextSampler(Tiles.of(stack), 1, seed) for stack in stacks)
    tables = train_contexts(
        lambda: seen.draw(BATCH_SIZE),
        1,
        2,
        MOST_STEPS,
        seed,
        look_up_decay=look_up_decay(train.size),
    )
    network = ContextNetwork(1, 2, tables, exponentials())
    return statistics.mean(bits_a_byte(network, judged.draw(TRIAL_BYTES)) for _ in range(JUDGED))


def read(codec: ImageCodec, path: Path) -> Images:
    """All images of an archive."""
    with codec.open(path) as archive:
        return np.concatenate([images for images, _ in archive.read()])


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long something takes, and what it gives."""
    started = time.perf_counter()
    given = work()
    return time.perf_counter() - started, given


def sheets(images: Images) -> Images:
    """Images on sheets of 10 x 10; what does not fill one is left out."""
    count, height, width = len(images) // 100, *images.shape[1:3]
    parts = images[: 100 * count].reshape(count, 10, 10, height, width)
    return parts.transpose(0, 1, 3, 2, 4).reshape(count, 10 * height, 10 * width)


def files_of(test: Images) -> tuple[tuple[str, Images], ...]:
    """What formats for pictures are given: single images, and sheets."""
    return (SINGLE, test[..., 0]), (SHEET, sheets(test[..., 0]))


def lossless_peers(test: Images) -> Iterator[Row]:
    """Formats and general compressors that keep every bit."""
    for kind, images in files_of(test):
        for method, found, num_bytes in kept_exactly(kind, images[..., np.newaxis]):
            yield row(method, found, num_bytes, images)


def kept_exactly(kind: str, images: Images) -> Iterator[tuple[str, str, int]]:
    """What keeps images without loss: its name, whether in one stream or as given, and bytes."""
    sizes = FormatSizes()
    sizes.add(images)
    for name, num_bytes in sizes.finish().items():
        method, _, way = name.partition(", ")
        if way == PER_IMAGE:
            yield method, kind, num_bytes
        elif kind == SINGLE:
            yield method, ALL, num_bytes


def lossy_peers(train: Images, test: Images) -> Iterator[Row]:
    """Formats with loss, and PCA."""
    for kind, images in files_of(test):
        for name in ("JPEG", "WEBP", "AVIF"):
            for quality in QUALITIES:
                code = functools.partial(by_pillow, name, quality)
                yield lossy_row(f"{name}, quality {quality}", kind, images, code)
        for quality in JPEG_XL_QUALITIES:
            code = functools.partial(as_jpeg_xl, quality)
            yield lossy_row(f"JPEG XL, quality {quality}", kind, images, code)
    yield from pca_rows(train, test)


def lossy_row(
    method: str, kind: str, images: Images, code: Callable[[Images], tuple[int, Images]]
) -> Row:
    """What images take, and how far off they come back, each in a file of its own."""
    num_bytes, error = 0, 0.0
    for image in images:
        size, found = code(image)
        num_bytes += size
        error += float(np.square((found.astype(np.float64) - image) / 255).sum())
    return row(method, kind, num_bytes, images, error / images.size)


def by_pillow(name: str, quality: int, image: Images) -> tuple[int, Images]:
    """Bytes of a picture file, and the picture in it."""
    stream = io.BytesIO()
    options = {"method": 6} if name == "WEBP" else {}
    Image.fromarray(image).save(stream, name, quality=quality, **options)
    return stream.tell(), np.asarray(Image.open(stream).convert("L"))


def as_jpeg_xl(quality: int, image: Images) -> tuple[int, Images]:
    """The same of JPEG XL."""
    import imagecodecs

    file = imagecodecs.jpegxl_encode(image, level=quality, effort=JPEG_XL_EFFORT)
    return len(file), imagecodecs.jpegxl_decode(file)


def pca_rows(train: Images, test: Images) -> Iterator[Row]:
    """16 principal components, rounded to one step, in ideal code length by training counts."""
    flat = to_float(train).reshape(len(train), -1)
    judged = to_float(test).reshape(len(test), -1)
    pca = fit_components(flat, 16)
    known, exact = pca.transform(flat), pca.transform(judged)
    for step in PCA_STEPS:
        codes, learned = (np.rint(values / step).astype(int) for values in (exact, known))
        low, high = min(codes.min(), learned.min()), max(codes.max(), learned.max())
        bits = 0.0
        for column, seen in zip(codes.T, learned.T, strict=True):
            counts = np.bincount(seen - low, minlength=high - low + 1) + 0.1
            bits -= float(np.log2(counts / counts.sum())[column - low].sum())
        off = pca.inverse_transform(codes * step) - judged
        yield row(f"PCA-16, step {step:g}", ALL, bits / 8, test, float(np.square(off).mean()))


def counted_rows(train: Images, test: Images) -> Iterator[Row]:
    """Ideal code length of a pixel given counted neighbors; pixels outside are 0.

    A context that was seen seldom leans on the one with fewer neighbors, the first one on the
    counts of all pixels.
    """
    pixels = {"train": train[..., 0].ravel(), "test": test[..., 0].ravel()}
    likely = (np.bincount(pixels["train"], minlength=256)[pixels["test"]] + 1) / (train.size + 256)
    for name, neighbors in COUNTED.items():
        keys = {part: context_keys(images, neighbors) for part, images in
                (("train", train[..., 0]), ("test", test[..., 0]))}  # fmt: skip
        totals = np.bincount(keys["train"], minlength=max(map(np.max, keys.values())) + 1)
        seen, counts = np.unique(keys["train"] * 256 + pixels["train"], return_counts=True)
        wanted = keys["test"] * 256 + pixels["test"]
        place = np.searchsorted(seen, wanted).clip(0, len(seen) - 1)
        own = np.where(seen[place] == wanted, counts[place], 0)
        likely = (own + LEANING * likely) / (totals[keys["test"]] + LEANING)
        yield row(name, ALL, float(-np.log2(likely).sum() / 8), test)


def context_keys(images: Images, neighbors: Any) -> NDArray[np.int64]:  # noqa: ANN401
    """A number for what the neighbors of each pixel are, in their levels."""
    padded = np.pad(images, ((0, 0), (2, 0), (2, 1)))
    keys = np.zeros(images.shape, np.int64)
    for (row_step, column_step), levels in neighbors:
        top, left = 2 + row_step, 2 + column_step
        near = padded[:, top : top + images.shape[1], left : left + images.shape[2]]
        # Black has a level of its own.
        keys = keys * levels + -(-near.astype(np.int64) * (levels - 1) // 255)
    return keys.ravel()


def summarize(rows: list[Row]) -> dict[str, float]:
    """The headline: means of our seeds, and the best of what needs no network."""

    def mean(method: str, column: str) -> float:
        return float(statistics.mean(row[column] for row in rows if row["method"] == method))

    peers = [row for row in rows if not row["method"].startswith("convae") and not row["mse"]]
    files = [row for row in peers if not row["method"].startswith("counts")]
    return {
        "lossless_bpp": mean("convae, lossless", "bits_a_pixel"),
        "lossless_bpp_with_model": mean("convae, lossless, with model", "bits_a_pixel"),
        "best_peer_file_bpp": min(row["bits_a_pixel"] for row in files),
        "best_counted_bpp": min(row["bits_a_pixel"] for row in peers),
        "tiny_bytes_per_image": mean("convae, tiny", "bytes_an_image"),
        "tiny_test_mse": mean("convae, tiny", "mse"),
        "lossless_decode_images_per_s": mean("convae, lossless", "decoded_a_second"),
        "tiny_decode_images_per_s": mean("convae, tiny, latents as encoded", "decoded_a_second"),
    }


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    given = row_options(__doc__, "--part", choices=[OURS, PEERS])
    mnist = load_dataset("mnist")
    if mnist.test is None:
        raise SystemExit("MNIST must come with its test split.")
    train, test = (mnist.train, mnist.test) if not given.quick else (
        mnist.train[:1000], mnist.test[:200]
    )  # fmt: skip
    rows = kept_rows(given.rows)
    done = {(found["method"].startswith("convae"), found["seed"]) for found in rows}

    def take(found: Iterator[Row]) -> None:
        for measured in found:
            keep_rows(given.rows, [measured])
            rows.append(measured)
            print(measured, flush=True)

    for seed in SEEDS[:1] if given.quick else SEEDS:
        if given.part != PEERS and (True, seed) not in done:
            take(ours(train, test, seed))
    if given.part != OURS and (False, 0) not in done:
        take(counted_rows(train, test))
        take(lossless_peers(test))
        take(lossy_peers(train, test))
    if given.part:
        return
    seeds = sorted({found["seed"] for found in rows})
    publish("compression", summarize(rows), rows, seeds, quick=given.quick)


if __name__ == "__main__":
    main()
