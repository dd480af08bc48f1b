"""Make the pictures of the first page, in docs/images: reconstructions, heat, and charts.

It needs a folder in CONVAE_DATA with `mnist.npz` and with `magnetic-tiles`, pictures of material:
`normal` without defects, and `defect` with them. The charts show what stands in `compression.json`
and `few_images.json` of benchmarks/results.

    make pictures
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from convae import AnomalyDetector, ConvAutoencoder, load_dataset, read_images
from convae.images import to_uint8, write_image
from convae.report.figures import overlay

IMAGES = Path(__file__).parent / "images"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
DIGIT_SCALE, GAP = 3, 4
# A defect that is easy to see, and what its overlay is enlarged by.
DEFECT, PART_SIDE, PART_EPOCHS, PART_SCALE = "crack_249821.jpg", 96, 30, 3
LARGEST_BYTES = 128
FORMATS = {"AVIF": "AVIF", "WEBP": "WebP", "JPEG": "JPEG", "JPEG XL": "JPEG XL"}
# In one file an image a format's header alone takes more than that.
KIND = "sheet of 100"
CHART_SIZE, OUR_COLOR = (7.5, 4.5), "#b00020"
# Sets of few images, and who is compared on them.
SETS = {"mnist": ("MNIST", "-"), "color": ("color photographs", "--")}
METHODS = {
    "ConvAutoencoder": ("convae", OUR_COLOR),
    "Keras": ("plain Keras, stopped early", "C0"),
    "kernel PCA": ("kernel PCA", "C2"),
}
LATENT_DIM = 16


def reconstructions() -> NDArray[np.uint8]:
    """The first test image of each digit, and below it what 16 numbers make of it."""
    dataset = load_dataset("mnist")
    model = ConvAutoencoder().fit(dataset.train)
    images, _ = dataset.judged()
    shown = images[[int(np.argmax(dataset.test_labels == digit)) for digit in range(10)]]
    rows = [shown, to_uint8(model.reconstruct(shown))]
    tiles = [
        np.concatenate([np.pad(image[..., 0], GAP, constant_values=255) for image in row], axis=1)
        for row in rows
    ]
    sheet = np.concatenate(tiles)
    return sheet.repeat(DIGIT_SCALE, axis=0).repeat(DIGIT_SCALE, axis=1)[..., np.newaxis]


def heat(data: Path) -> NDArray[np.uint8]:
    """A part with a defect, what deviates in red, and the nearest normal picture."""
    parts = {
        name: read_images(data / name, size=PART_SIDE, channels=1, fit="crop")
        for name in ("normal", "defect")
    }
    detector = AnomalyDetector(ConvAutoencoder(epochs=PART_EPOCHS), false_alarm_rate=0.05)
    detector.fit(parts["normal"].images)
    index = parts["defect"].paths.index(DEFECT)
    one = parts["defect"].images[index : index + 1]
    restored = to_uint8(detector.restore(one))[0]
    picture = overlay(to_uint8(one)[0], detector.heat_maps(one)[0], restored)
    return picture.repeat(PART_SCALE, axis=0).repeat(PART_SCALE, axis=1)


def result_rows(name: str) -> list[dict[str, Any]]:
    """The rows that a benchmark published."""
    text = (RESULTS / f"{name}.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["rows"]
    return rows


def few_images(path: Path) -> None:
    """The error of test images, relative to PCA's, against the number of training images."""
    rows = [row for row in result_rows("few_images") if row["latent_dim"] == LATENT_DIM]

    def error(name: str, count: int, method: str) -> float:
        key = name, count, method
        return statistics.mean(
            row["test_mse"] for row in rows if (row["set"], row["images"], row["method"]) == key
        )

    figure = Figure(figsize=CHART_SIZE, dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, (shown, style) in SETS.items():
        counts = sorted({row["images"] for row in rows if row["set"] == name})
        for method, (label, color) in METHODS.items():
            ratios = [error(name, count, method) / error(name, count, "PCA") for count in counts]
            width = 2.5 if color == OUR_COLOR else 1
            axes.plot(
                counts, ratios, f"o{style}", color=color, linewidth=width, label=f"{label}, {shown}"
            )
    axes.axhline(1, color="black", linewidth=1)
    axes.annotate("PCA", (counts[0], 1), xytext=(0, -12), textcoords="offset points")
    axes.set(xscale="log", yscale="log", ylim=(0.25, 4))
    ticks = [0.25, 0.5, 1, 2, 4]
    axes.set_yticks(ticks, map(str, ticks))
    axes.set_yticks([], minor=True)
    axes.set(xlabel="training images", ylabel=f"test error / that of PCA, {LATENT_DIM} numbers")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path)


def rate_distortion(path: Path) -> None:
    """Squared error against bytes an image, on MNIST's test images."""
    rows = result_rows("compression")
    figure = Figure(figsize=CHART_SIZE, dpi=100, layout="constrained")
    axes = figure.add_subplot()
    ours = [
        row
        for row in rows
        if row["method"] == "convae, tiny" or row["method"].startswith("convae, no pixel")
    ]
    axes.plot(*_curve(ours), "o-", color=OUR_COLOR, linewidth=2.5, label="convae")
    for name, label in FORMATS.items():
        found = [
            row
            for row in rows
            if row["method"].startswith(f"{name}, quality") and row["kind"] == KIND
        ]
        axes.plot(*_curve(found), "o-", linewidth=1, markersize=3, label=f"{label}, {KIND}")
    pca = [row for row in rows if row["method"].startswith("PCA")]
    axes.plot(*_curve(pca), "o-", linewidth=1, markersize=3, label="PCA-16, rounded")
    axes.set(xlim=(0, LARGEST_BYTES), yscale="log")
    axes.set(xlabel="bytes an image", ylabel="mean squared error")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def _curve(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Bytes an image and errors, means over the seeds, of the settings that none other beats."""
    methods = {row["method"] for row in rows if row["mse"] > 0}
    points = sorted(
        tuple(
            statistics.mean(row[figure] for row in rows if row["method"] == method)
            for figure in ("bytes_an_image", "mse")
        )
        for method in methods
    )
    best = [
        point
        for place, point in enumerate(points)
        if point[1] <= min(error for _, error in points[: place + 1])
    ]
    return [point[0] for point in best], [point[1] for point in best]


def main() -> None:
    """Make all of them.

    Raises:
        SystemExit: There is no data.
    """
    data = Path(os.environ.get("CONVAE_DATA", "")) / "magnetic-tiles"
    if not data.is_dir():
        sys.exit(f"CONVAE_DATA must name a folder with magnetic-tiles; {data} is none.")
    IMAGES.mkdir(exist_ok=True)
    few_images(IMAGES / "few_images.png")
    rate_distortion(IMAGES / "rate_distortion.png")
    write_image(IMAGES / "heat.png", heat(data))
    write_image(IMAGES / "reconstruction.png", reconstructions())
    for path in IMAGES.glob("*.png"):
        Image.open(path).save(path, optimize=True)


if __name__ == "__main__":
    main()
