"""The files that a search for anomalies leaves: a table, an overlay for each find, and a page."""

import base64
import contextlib
import html
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.images import to_uint8
from convae.images.memory import chunks
from convae.images.pictures import write_image
from convae.jobs.anomaly import AnomalyDetector
from convae.jobs.anomaly.heat import Box, largest_box
from convae.report.figures import overlay
from convae.report.runs import csv_table
from convae.storage.files import printable, write_whole

TABLE = "anomalies.csv"
PAGE = "anomalies.html"
OVERLAYS = "overlays"
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
        box: Around the region that deviates most, in pixels of the model's size; None where none
            does.
    """

    image: str
    p_value: float
    score: float
    anomaly: bool
    box: Box | None

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


def detect_all(
    detector: AnomalyDetector, images: NDArray[Any], names: Sequence[str]
) -> list[Detection]:
    """Judge images.

    Args:
        detector: The fitted detector; its `false_alarm_rate` decides.
        images: Images of its size, uint8 or float32 in [0, 1].
        names: One for each image.

    Raises:
        ParameterError: The rate is smaller than the calibration images can support.
    """
    offset = detector.offset_
    parts, boxes = [], []
    for part in chunks(images):
        some_scores, heat = detector.judge(images[part])
        parts.append(some_scores)
        boxes += [largest_box(one) for one in heat]
    scores = np.concatenate(parts)
    p_values = detector.calibration_.p_values(scores)
    columns = zip(names, p_values, scores, boxes, strict=True)
    return [
        Detection(name, float(p_value), float(score), bool(score < offset), box)
        for name, p_value, score, box in columns
    ]


def write_detections(
    folder: Path,
    detector: AnomalyDetector,
    images: NDArray[Any],
    detections: Sequence[Detection],
    num_shown: int,
) -> dict[str, str]:
    """Write the table, the overlays of the most suspicious finds, and a page with all of these.

    Args:
        folder: Where to; overlays of an earlier search are removed.
        detector: The fitted detector.
        images: The images that were judged.
        detections: What `detect_all` made of them.
        num_shown: Overlays at most, of the lowest scores.

    Returns:
        The path of each file by what it is.

    Raises:
        OutputError: A file cannot be written.
    """
    order = np.argsort([found.score for found in detections], kind="stable")
    shown = [int(index) for index in order if detections[index].anomaly][:num_shown]
    _remove_overlays(folder / OVERLAYS)
    pictures = {}
    for index in shown:
        one = images[index : index + 1]
        heat, restored = detector.heat_maps(one)[0], to_uint8(detector.restore(one))[0]
        path = folder / _overlay(index)
        write_image(path, overlay(to_uint8(one)[0], heat, restored))
        pictures[index] = path.read_bytes()
    rows = []
    for index, found in enumerate(detections):
        box = ("",) * 4 if found.box is None else tuple(asdict(found.box).values())
        anomaly = "yes" if found.anomaly else "no"
        place = _overlay(index).as_posix() if index in pictures else ""
        rows.append(
            (found.image, f"{found.p_value:.6g}", f"{found.score:.6f}", anomaly, *box, place)
        )
    write_whole(folder / TABLE, csv_table(HEADER, rows))
    write_whole(folder / PAGE, _page(detector, detections, pictures).encode())
    return {"table": str(folder / TABLE), "page": str(folder / PAGE)}


def _overlay(index: int) -> Path:
    return Path(OVERLAYS) / f"{index:06}.png"


def _remove_overlays(folder: Path) -> None:
    """Take away what an earlier search left, so that no old overlay is taken for a new find."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if re.fullmatch(r"\d{6,}\.png", path.name):
            path.unlink()
    with contextlib.suppress(OSError):  # something else is in it
        folder.rmdir()


def _page(
    detector: AnomalyDetector, detections: Sequence[Detection], pictures: dict[int, bytes]
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
        f"<p>{num_flagged:,} of {len(detections):,} images are flagged. Of normal images, at most "
        f"a share of {rate:g} is flagged by chance (calibrated on {count:,} normal images). The "
        f"score is {html.escape(repr(detector.choice_.score))}: "
        f"{html.escape(detector.choice_.reason)}.</p>\n"
        f"<p>The {len(pictures):,} most suspicious, each with what deviates in red, and with the "
        f"nearest normal image on the right:</p>\n" + "\n".join(figures) + "\n</body></html>\n"
    )
