"""A folder of 3,000 odd picture files, packed and unpacked: each comes back exactly or is named.

    python benchmarks/odd_files.py            # 3,000 files; minutes on 2 cores
    python benchmarks/odd_files.py --quick    # 300; writes no result

The files are of eight formats, 1 to 16 bits, gray, color, palettes and alpha, turned, of 1 to
100,000 pixels, with names that are hard on some file system, and endings that say something else.
A fifth of them are damaged or hold what cannot be kept exactly: cut off, empty, changed bytes,
text, CMYK, signed values, headers that claim giants. What a sound file holds was decided before it
was written; what is in a JPEG, a lossy WebP and a lossy AVIF is what Pillow says.

A fault is a sound file that does not come back with its pixels, under its name or the one that
`out-names.csv` tells; a file that is neither packed nor named with its reason; a reason for a sound
file; other pixels than Pillow's from a damaged file; or a wrong exit code: 0, and 1 with
`--strict`.
"""

import argparse
import csv
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from results import publish

from convae.images import write_image

NUM_FILES, NUM_QUICK, SEED = 3_000, 300, 0
SHARE_DAMAGED = 0.2
SIDES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 28, 31, 33, 48, 64, 65, 100)
SHAPES = ((1, 2000), (2000, 1), (3, 700), (300, 400), (257, 255), (120, 800))
ORIENTATION = 274
NAMES = (
    "{}", "with space {}", "umlaut äöü {}", "日本語 {}", "emoji 🎈{}", "12:30 {}", "what? {}",
    "star* {}", "new\nline {}", "tab\t{}", "quote\"'{}", "-dash {}", "=1+1 {}", "@sum {}",
    "back\\slash {}", "dot. {}", "trailing {} ", "CON {}", "percent %41 {}", "\u202eright {}",
    "escape \x1b[2J {}", "a/b/c/{}", "deep/" * 12 + "{}", "v1./{}", "aux/{}", "~{}", "$HOME {}",
    "{}#part", "n" * 200 + " {}", "e\u0301 {}", "\u00e9 {}", "{}\udcff",
)  # fmt: skip
CONVAE = (sys.executable, "-m", "convae")
TRAINING = ("--filters", "4", "--latent-dim", "4", "--epochs", "1")

Pixels = NDArray[Any]
Sound = Callable[[], tuple[str, bytes, Pixels | None]]
Damaged = Callable[[], tuple[str, bytes]]


@dataclass(frozen=True)
class Odd:
    """One file of the folder.

    Args:
        name: Its path in the folder.
        data: What is in it.
        pixels: What must come back; None if it must be named instead.
        either: Whether it may do either; then `pixels` are Pillow's, or None.
    """

    name: str
    data: bytes
    pixels: Pixels | None
    either: bool = False


def by_pillow(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401
    """The bytes of a picture file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(data: bytes) -> Pixels | None:
    """What Pillow reads, turned, in gray, RGB or RGBA; None where it raises anything."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = ImageOps.exif_transpose(image)
            alpha = "A" in turned.mode or "transparency" in turned.info
            color = turned.mode not in ("1", "L", "LA", "I;16", "I;16B", "I", "F")
            deep = turned.mode.startswith("I")
            wanted = "RGBA" if alpha else "RGB" if color else turned.mode if deep else "L"
            pixels = np.array(turned.convert(wanted))
    except Exception:  # whatever a decoder raises
        return None
    return pixels


class Maker:
    """Makes files, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.sound: tuple[Sound, ...] = (
            self.png, self.png, self.gray_png, self.deep_png, self.deep_gray_png, self.palette,
            self.bilevel, self.gray_alpha, self.turned, self.tiff, self.deep_tiff, self.bmp,
            self.gif, self.jpeg, self.webp, self.avif, self.jpeg_2000, self.transparent,
        )  # fmt: skip
        self.damaged: tuple[Damaged, ...] = (
            self.empty, self.text, self.cut, self.cmyk, self.signed, self.giant, self.no_pixels,
        )  # fmt: skip

    def array(self, channels: int, kind: type = np.uint8) -> Pixels:
        """Smooth shapes, flat parts or noise, of some size."""
        if self.random.random() < 0.1:
            height, width = SHAPES[self.random.integers(len(SHAPES))]
        else:
            height, width = self.random.choice(SIDES, 2)
        most = np.iinfo(kind).max
        rows = np.linspace(0, 6, height)[:, np.newaxis, np.newaxis]
        columns = np.linspace(0, 9, width)[:, np.newaxis]
        waves = 0.5 + np.sin(rows + np.arange(channels)) * np.cos(columns) / 2
        noise = self.random.random((height, width, channels))
        share = self.random.choice([0, 0.05, 1])
        pixels: Pixels = np.rint(most * ((1 - share) * waves + share * noise)).astype(kind)
        return pixels

    def ending(self, *known: str) -> str:
        """One of these, at times in capitals, at times one that says something else."""
        if self.random.random() < 0.08:
            return str(self.random.choice([".png", ".jpg", ".tif", ".JPEG", ".webp", ".gif"]))
        found = str(self.random.choice(known))
        return found.upper() if self.random.random() < 0.15 else found

    def png(self) -> tuple[str, bytes, Pixels | None]:
        """8 bits, RGB or RGBA."""
        pixels = self.array(int(self.random.choice([3, 3, 4])))
        level = int(self.random.integers(0, 10))
        data = by_pillow(Image.fromarray(pixels), "PNG", compress_level=level)
        return self.ending(".png", ".apng"), data, pixels

    def gray_png(self) -> tuple[str, bytes, Pixels | None]:
        """8 bits."""
        pixels = self.array(1)[..., 0]
        return self.ending(".png"), by_pillow(Image.fromarray(pixels), "PNG"), pixels

    def deep_png(self) -> tuple[str, bytes, Pixels | None]:
        """16 bits, RGB or RGBA."""
        pixels = self.array(int(self.random.choice([3, 4])), np.uint16)
        return self.ending(".png"), bytes(imagecodecs.png_encode(pixels)), pixels

    def deep_gray_png(self) -> tuple[str, bytes, Pixels | None]:
        """16 bits."""
        pixels = self.array(1, np.uint16)[..., 0]
        return self.ending(".png"), bytes(imagecodecs.png_encode(pixels)), pixels

    def palette(self) -> tuple[str, bytes, Pixels | None]:
        """Up to 256 colors."""
        indices = self.array(1)[..., 0] & int(self.random.choice([1, 3, 15, 255]))
        colors = self.random.integers(0, 256, (256, 3), dtype=np.uint8)
        colors[0] = 255, 0, 0
        image = Image.fromarray(indices)
        image.putpalette(colors.tobytes())
        kind, ending = (("PNG", ".png"), ("TIFF", ".tif"), ("BMP", ".bmp"))[self.random.integers(3)]
        return self.ending(ending), by_pillow(image, kind), colors[indices]

    def bilevel(self) -> tuple[str, bytes, Pixels | None]:
        """One bit."""
        pixels = np.where(self.array(1)[..., 0] > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(pixels).convert("1", dither=Image.Dither.NONE)
        if self.random.random() < 0.5:
            return self.ending(".png"), by_pillow(image, "PNG"), pixels
        return self.ending(".tif"), by_pillow(image, "TIFF", compression="group4"), pixels

    def gray_alpha(self) -> tuple[str, bytes, Pixels | None]:
        """Gray and alpha, which come back as RGBA."""
        pixels = self.array(2)
        wanted = np.concatenate([pixels[..., :1].repeat(3, axis=2), pixels[..., 1:]], axis=2)
        return self.ending(".png"), by_pillow(Image.fromarray(pixels, "LA"), "PNG"), wanted

    def transparent(self) -> tuple[str, bytes, Pixels | None]:
        """A color that stands for nothing."""
        pixels = self.array(3)
        pixels[0, 0] = 1, 2, 3
        seen = np.where((pixels == (1, 2, 3)).all(axis=2), 0, 255).astype(np.uint8)
        data = by_pillow(Image.fromarray(pixels), "PNG", transparency=(1, 2, 3))
        return self.ending(".png"), data, np.dstack([pixels, seen])

    def turned(self) -> tuple[str, bytes, Pixels | None]:
        """A PNG or TIFF that says how it is to be turned."""
        pixels = self.array(3)
        which = int(self.random.integers(2, 9))
        exif = Image.Exif()
        exif[ORIENTATION] = which
        kind, ending = (("PNG", ".png"), ("TIFF", ".tiff"))[self.random.integers(2)]
        data = by_pillow(Image.fromarray(pixels), kind, exif=exif)
        turn: dict[int, Callable[[Pixels], Pixels]] = {
            2: lambda x: x[:, ::-1],
            3: lambda x: x[::-1, ::-1],
            4: lambda x: x[::-1],
            5: lambda x: x.transpose(1, 0, 2),
            6: lambda x: x[::-1].transpose(1, 0, 2),
            7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
            8: lambda x: x.transpose(1, 0, 2)[::-1],
        }
        return self.ending(ending), data, turn[which](pixels)

    def tiff(self) -> tuple[str, bytes, Pixels | None]:
        """8 bits, in one of the usual compressions."""
        channels = int(self.random.choice([1, 3, 4]))
        pixels = self.array(channels)
        pixels = pixels[..., 0] if channels == 1 else pixels
        how = str(self.random.choice(["raw", "tiff_lzw", "tiff_deflate", "packbits"]))
        data = by_pillow(Image.fromarray(pixels), "TIFF", compression=how)
        return self.ending(".tif", ".tiff"), data, pixels

    def deep_tiff(self) -> tuple[str, bytes, Pixels | None]:
        """16 bits of gray."""
        pixels = self.array(1, np.uint16)[..., 0]
        return self.ending(".tif"), by_pillow(Image.fromarray(pixels), "TIFF"), pixels

    def bmp(self) -> tuple[str, bytes, Pixels | None]:
        """8 bits, gray or RGB."""
        pixels = self.array(3) if self.random.random() < 0.7 else self.array(1)[..., 0]
        return self.ending(".bmp"), by_pillow(Image.fromarray(pixels), "BMP"), pixels

    def gif(self) -> tuple[str, bytes, Pixels | None]:
        """One frame, or two, of which the first counts."""
        pixels, second = (np.full((9, 12, 3), (40, 90, blue), np.uint8) for blue in (10, 200))
        more: dict[str, Any] = {}
        if self.random.random() < 0.2:
            more = {"save_all": True, "append_images": [Image.fromarray(second)]}
        return self.ending(".gif"), by_pillow(Image.fromarray(pixels), "GIF", **more), pixels

    def jpeg(self) -> tuple[str, bytes, Pixels | None]:
        """Gray or color, at times progressive."""
        pixels = self.array(3) if self.random.random() < 0.7 else self.array(1)[..., 0]
        progressive = bool(self.random.random() < 0.3)
        data = by_pillow(Image.fromarray(pixels), "JPEG", quality=80, progressive=progressive)
        return self.ending(".jpg", ".jpeg", ".jfif", ".jpe"), data, decoded(data)

    def webp(self) -> tuple[str, bytes, Pixels | None]:
        """Without loss or with."""
        pixels = self.array(3)
        if self.random.random() < 0.5:
            data = by_pillow(Image.fromarray(pixels), "WEBP", lossless=True)
            return self.ending(".webp"), data, pixels
        data = by_pillow(Image.fromarray(pixels), "WEBP")
        return self.ending(".webp"), data, decoded(data)

    def avif(self) -> tuple[str, bytes, Pixels | None]:
        """With loss."""
        data = by_pillow(Image.fromarray(self.array(3)), "AVIF")
        return self.ending(".avif"), data, decoded(data)

    def jpeg_2000(self) -> tuple[str, bytes, Pixels | None]:
        """Without loss."""
        pixels = self.array(3) if self.random.random() < 0.7 else self.array(1)[..., 0]
        data = by_pillow(Image.fromarray(pixels), "JPEG2000", irreversible=False)
        return self.ending(".jp2", ".j2k"), data, pixels

    def empty(self) -> tuple[str, bytes]:
        """Nothing."""
        return ".png", b""

    def text(self) -> tuple[str, bytes]:
        """No picture at all."""
        return self.ending(".png", ".jpg"), b"<html>404 Not Found</html>\n" * 5

    def cut(self) -> tuple[str, bytes]:
        """The first half of a file of noise, before its end in any case."""
        noise = self.random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        kind, ending = (("PNG", ".png"), ("JPEG", ".jpg"), ("BMP", ".bmp"), ("WEBP", ".webp"))[
            self.random.integers(4)
        ]
        data = by_pillow(Image.fromarray(noise), kind)
        return ending, data[: int(len(data) * self.random.uniform(0.1, 0.8))]

    def cmyk(self) -> tuple[str, bytes]:
        """Inks, which RGB cannot hold exactly."""
        noise = self.random.integers(0, 256, (9, 9, 4), dtype=np.uint8)
        kind, ending = (("TIFF", ".tif"), ("JPEG", ".jpg"))[self.random.integers(2)]
        return ending, by_pillow(Image.fromarray(noise, "CMYK"), kind)

    def signed(self) -> tuple[str, bytes]:
        """A TIFF of 32 bits with a sign."""
        values = self.random.integers(-(2**31), 2**31, (9, 9), dtype=np.int32)
        return ".tif", by_pillow(Image.fromarray(values), "TIFF")

    def giant(self) -> tuple[str, bytes]:
        """A header that claims a picture of 65,535 x 65,535."""
        data = bytearray(by_pillow(Image.fromarray(self.array(3)), "BMP"))
        data[18:26] = struct.pack("<ii", 65_535, 65_535)
        return ".bmp", bytes(data)

    def no_pixels(self) -> tuple[str, bytes]:
        """A PNG without its data."""
        data = by_pillow(Image.fromarray(self.array(3)), "PNG")
        return ".png", data[: data.index(b"IDAT") - 4] + data[-12:]

    def make(self, index: int) -> Odd:
        """One file."""
        name = NAMES[self.random.integers(len(NAMES))].format(index)
        if self.random.random() >= SHARE_DAMAGED:
            ending, data, pixels = self.sound[self.random.integers(len(self.sound))]()
            return Odd(name + ending, data, pixels)
        if self.random.random() < 0.7:
            ending, data = self.damaged[self.random.integers(len(self.damaged))]()
            return Odd(name + ending, data, None)
        ending, data, _ = self.sound[self.random.integers(len(self.sound))]()
        changed = bytearray(data)
        for place in self.random.integers(0, len(changed), 3):
            changed[place] = self.random.integers(256)
        return Odd(name + ending, bytes(changed), decoded(bytes(changed)), either=True)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*CONVAE, *arguments], cwd=folder, capture_output=True, text=True, errors="replace"
    )


def same(found: Pixels, wanted: Pixels) -> bool:
    """Whether the pixels of a PNG are those that must come back."""
    return found.squeeze().dtype == wanted.dtype and np.array_equal(
        found.reshape(wanted.shape) if found.size == wanted.size else found, wanted
    )


def read_png(path: Path) -> Pixels:
    """The pixels of a picture that was unpacked, by a library that convae does not read it with."""
    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


def compare(odd: list[Odd], folder: Path) -> tuple[Counter[str], list[str]]:
    """Pack and unpack the files, and count what became of them."""
    for file in odd:
        path = folder / "in" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
    model = "model/model.safetensors"
    done = run(["compress", model, "in", "x.cae", "--json"], folder)
    faults = [] if done.returncode == 0 else [f"compress ended with {done.returncode}"]
    result = json.loads(done.stdout)
    reasons = {entry[0]: entry[1] for entry in result["skipped"]}
    unpacked = run(["decompress", "x.cae", "out", "--model", model], folder)
    if unpacked.returncode:
        faults.append(f"decompress ended with {unpacked.returncode}: {unpacked.stderr[-300:]}")
    if run(["compress", model, "in", "y.cae", "--strict"], folder).returncode != 1:
        faults.append("compress --strict did not end with 1")
    renamed = {}
    if (folder / "out-names.csv").exists():
        with (folder / "out-names.csv").open(
            newline="", encoding="utf-8", errors="surrogateescape"
        ) as table:
            renamed = {row["name"]: row["file"] for row in csv.DictReader(table)}
    counts: Counter[str] = Counter()
    for file in odd:
        given = file.name if file.name.lower().endswith(".png") else f"{file.name}.png"
        out = folder / "out" / renamed.get(file.name, given)
        came, named = out.is_file(), bool(reasons.get(file.name))
        pixels = read_png(out) if came else None
        if came == named:
            faults.append(f"{file.name!r} came {came}, named {named}: {reasons.get(file.name)}")
        elif named and file.pixels is not None and not file.either:
            faults.append(f"{file.name!r} is sound, and was left out: {reasons[file.name]}")
        elif came and (file.pixels is None or not same(pixels, file.pixels)):  # type: ignore[arg-type]
            faults.append(f"{file.name!r} came back otherwise")
        counts["came back" if came else "named"] += 1
    counts["others"] = len([p for p in (folder / "out").rglob("*") if p.is_file()]) - counts[
        "came back"
    ] - bool(renamed)  # fmt: skip
    if counts.pop("others"):
        faults.append("there are files that nobody packed")
    return counts, faults


def main() -> None:
    """Make, pack, unpack, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300; writes no result")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, and to keep")
    given = parser.parse_args()
    maker = Maker(SEED)
    odd = [maker.make(index) for index in range(NUM_QUICK if given.quick else NUM_FILES)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        for index in range(20):
            write_image(folder / "small" / f"{index}.png", maker.array(3)[:64, :64])
        trained = run(
            ["train", "small", "--for", "codec", *TRAINING, "--size", "16", "--out", "model"],
            folder,
        )
        if trained.returncode:
            raise SystemExit(trained.stderr)
        counts, faults = compare(odd, folder)
    for fault in faults:
        print(os.fsencode(fault).decode("utf-8", "replace"))
    headline = {
        "files": len(odd),
        "came_back_exactly": counts["came back"],
        "named_with_a_reason": counts["named"],
        "faults": len(faults),
    }
    publish("odd_files", headline, [headline], [SEED], quick=given.quick)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
