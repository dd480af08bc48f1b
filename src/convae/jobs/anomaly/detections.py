"""What a search for anomalies leaves: a table, an overlay for each find, and a page."""

import base64
import csv
import html
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.images import to_uint8
from convae.images.pictures import encode_image
from convae.jobs.anomaly.fitted import AppliedDetector, Findings
from convae.jobs.anomaly.heat import Box, largest_boxes
from convae.report.figures import overlay
from convae.report.result import Result
from convae.report.tables import csv_table
from convae.storage.files import check_output, printable, results_folder, write_part

TABLE = "anomalies.csv"
PAGE = "anomalies.html"
OVERLAYS = "overlays"
RESTORED_AT_ONCE = 128
HEADER = ("image", "p_value", "score", "anomaly", "left", "top", "width", "height", "overlay")

_STYLE = """body { font: 15px system-ui, sans-serif; margin: 2em auto; max-width: 60em }
figure { display: inline-block; margin: 0 1.5em 1.5em 0; vertical-align: top }
img { display: block; image-rendering: pixelated } figcaption { max-width: 22em;
overflow-wrap: anywhere } .flagged { color: #b00020 }"""


@dataclass(frozen=True)
class Detection:
    """What was found of one image.

    Args:
        image: Its name.
        p_value: Small is suspicious.
        score: Higher is more normal.
        anomaly: Whether the p-value is at most the rate of false alarms.
        box: Around the region that deviates most, in pixels of the model's size; None if none
            does.
    """

    image: str
    p_value: float
    score: float
    anomaly: bool
    box: Box | None

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {**vars(self), "box": None if self.box is None else dict(vars(self.box))}


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What is shown of a flagged image.

    Args:
        score: Higher is more normal.
        index: Which image it is.
        image: uint8 `(height, width, channels)`.
        heat: float32 `(height, width)`.
        latents: float32 `(latent_dim,)`: those of the normal image that comes nearest.
    """

    score: float
    index: int
    image: NDArray[np.uint8]
    heat: NDArray[np.float32]
    latents: NDArray[np.float32]


def detect_all(
    detector: AppliedDetector, images: NDArray[Any], names: Sequence[str], num_shown: int = 0
) -> tuple[list[Detection], list[_Evidence]]:
    """Judge each image once, and keep the evidence of the most suspicious ones flagged.

    Args:
        detector: The fitted detector; its `false_alarm_rate` decides.
        images: Images of its size, uint8 or float32 in [0, 1].
        names: One for each image.
        num_shown: Most images whose evidence is kept.

    Returns:
        What was found of each image; and the evidence, the lowest score first.

    Raises:
        ParameterError: The rate is smaller than the calibration images can support.
    """
    detections: list[Detection] = []
    shown: list[_Evidence] = []
    for found in detector.examine(images):
        start = len(detections)
        p_values = detector.calibration_.p_values(found.scores)
        columns = (p_values.tolist(), found.scores.tolist(), found.flagged.tolist())
        # The map of an image that is not flagged is blank, so it has no box.
        rows = zip(names[start:], *columns, largest_boxes(found.heat), strict=False)
        detections += [Detection(*row) for row in rows]
        least = shown[-1].score if len(shown) == num_shown > 0 else np.inf
        evidence = _evidence(found, start, num_shown, least)
        shown = _most_suspicious([*shown, *evidence], num_shown)
    return detections, shown


def _evidence(found: Findings, start: int, num_shown: int, below: float) -> Iterator[_Evidence]:
    """The evidence of those images that score `below`; the first image is number `start`."""
    order = np.argsort(found.scores, kind="stable")
    chosen = order[(found.flagged & (found.scores < below))[order]][:num_shown]
    originals, latents = to_uint8(found.view.images[chosen]), found.view.restored_latents(chosen)
    for place, index in enumerate(chosen):
        score, heat = float(found.scores[index]), found.heat[index].copy()
        yield _Evidence(score, start + int(index), originals[place], heat, latents[place])


def _most_suspicious(shown: list[_Evidence], most: int) -> list[_Evidence]:
    return sorted(shown, key=lambda evidence: (evidence.score, evidence.index))[:most]


def write_detections(
    folder: Path,
    detector: AppliedDetector,
    images: NDArray[Any],
    names: Sequence[str],
    num_shown: int,
) -> Result:
    """Judge images, and write a table, overlays of the most suspicious, and a page with these.

    They appear together, in place of those of an earlier search.

    Args:
        folder: Where to; overlays that the table of an earlier search names are removed.
        detector: The fitted detector; its `false_alarm_rate` decides.
        images: Images of its size, uint8 or float32 in [0, 1].
        names: One for each image.
        num_shown: Most overlays to write, for the lowest scores.

    Raises:
        ParameterError: The rate is smaller than the calibration images can support.
        OutputError: A file cannot be written.
    """
    detections, shown = detect_all(detector, images, names, num_shown)
    pictures: dict[int, bytes] = {}
    rows = _rows(detections, {evidence.index for evidence in shown})
    with results_folder(folder, _earlier_overlays(folder)) as work:
        # The next overlay is drawn while the disk takes the last.
        with ThreadPoolExecutor(1) as pool:
            written = []
            for index, png in _draw_overlays(detector, shown):
                pictures[index] = png
                written.append(pool.submit(write_part, work / _overlay(index), png))
            for each in written:
                each.result()
        write_part(work / TABLE, csv_table(HEADER, rows))
        write_part(work / PAGE, _page(detector, detections, pictures).encode())
    num_flagged = sum(found.anomaly for found in detections)
    rate = detector.false_alarm_rate
    return Result(
        {
            "num_images": len(detections),
            "num_flagged": num_flagged,
            "false_alarm_rate": rate,
            "images": [found.to_json() for found in detections],
        },
        [
            f"{num_flagged:,} of {len(detections):,} images flagged, at a false-alarm rate of "
            f"{rate:.3g}"
        ],
        {"table": str(folder / TABLE), "page": str(folder / PAGE)},
    )


def _draw_overlays(
    detector: AppliedDetector, shown: Sequence[_Evidence]
) -> Iterator[tuple[int, bytes]]:
    """The number of each image that is shown, and its overlay as PNG."""
    for start in range(0, len(shown), RESTORED_AT_ONCE):
        part = shown[start : start + RESTORED_AT_ONCE]
        latents = np.stack([evidence.latents for evidence in part])
        restored = to_uint8(detector.scores_.network.decode(latents))
        for evidence, normal in zip(part, restored, strict=True):
            picture = overlay(evidence.image, evidence.heat, normal)
            yield evidence.index, encode_image(picture)


def _overlay(index: int) -> Path:
    return Path(OVERLAYS) / f"{index:06}.png"


def _rows(detections: Sequence[Detection], shown: set[int]) -> list[tuple[object, ...]]:
    """The rows of the table."""
    rows: list[tuple[object, ...]] = []
    for index, found in enumerate(detections):
        box = ("",) * 4 if found.box is None else tuple(vars(found.box).values())
        anomaly = "yes" if found.anomaly else "no"
        place = _overlay(index).as_posix() if index in shown else ""
        rows.append(
            (found.image, f"{found.p_value:.6g}", f"{found.score:.6f}", anomaly, *box, place)
        )
    return rows


def check_detections(
    folder: Path, inputs: Sequence[str | os.PathLike[str]] = (), *, overwrite: bool
) -> None:
    """Refuse, before any work, to replace what a search would replace.

    Args:
        folder: Where the search is to write.
        inputs: What is read.
        overwrite: Whether an earlier search there may be replaced.

    Raises:
        OutputError: There is one, or something else in its place.
    """
    for name in (TABLE, PAGE, OVERLAYS):
        check_output(folder / name, inputs, overwrite=overwrite)


def _earlier_overlays(folder: Path) -> list[str]:
    """The overlays that the table of an earlier search names, so that none is taken for new."""
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8", errors="surrogateescape") as table:
            header, *rows = csv.reader(table)
    except (OSError, ValueError, csv.Error):
        return []
    if tuple(header) != HEADER:
        return []
    return [row[-1] for row in rows if row and re.fullmatch(rf"{OVERLAYS}/\d{{6,}}\.png", row[-1])]


def _page(
    detector: AppliedDetector, detections: Sequence[Detection], pictures: dict[int, bytes]
) -> str:
    """The finds as one HTML page that needs no other file."""
    num_flagged = sum(found.anomaly for found in detections)
    rate, count = detector.false_alarm_rate, len(detector.calibration_.scores)
    figures = []
    for index, png in pictures.items():
        found = detections[index]
        data = base64.b64encode(png).decode("ascii")
        name = html.escape(printable(found.image))
        figures.append(
            f'<figure><img alt="{name}" src="data:image/png;base64,{data}">'
            f'<figcaption>{name}<br>p-value <b class="flagged">{found.p_value:.4f}</b>, score '
            f"{found.score:.3f}</figcaption></figure>"
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Anomalies</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Anomalies</h1>\n"
        f"<p>{num_flagged:,} of {len(detections):,} images are flagged. At most a share of "
        f"{rate:g} of normal images is flagged by chance (calibrated on {count:,} normal images). "
        f"The score is {html.escape(repr(detector.choice_.score))}: "
        f"{html.escape(detector.choice_.reason)}.</p>\n"
        f"<p>The {len(pictures):,} most suspicious, each with what deviates in red, and with the "
        f"nearest normal image on the right:</p>\n" + "\n".join(figures) + "\n</body></html>\n"
    )
