"""The verb `detect`: which images do not belong; judging and writing are others' work."""

from pathlib import Path

import click

from convae.cli.console import (
    examples,
    finish,
    image_options,
    json_option,
    load,
    load_images,
    model_and_images,
    out_option,
)

ANOMALIES_FOUND = 3


@click.command(
    epilog=examples(
        "convae detect parts/model.safetensors new/ --false-alarm-rate 0.05",
        "convae detect parts/model.safetensors new/ --calibrate normal-today/",
    )
)
@model_and_images
@click.option(
    "--false-alarm-rate",
    type=float,
    default=0.01,
    show_default=True,
    help="Share of normal images that may be flagged.",
)
@click.option(
    "--calibrate",
    metavar="DATA",
    help="Hold images against these normal ones, never trained on, instead of the model's own.",
)
@out_option("anomalies")
@click.option(
    "--count",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    help="Overlays at most, of the most suspicious images.",
)
@click.option("--fail", is_flag=True, help="Exit with code 3 where any image is flagged.")
@image_options
@json_option
@click.pass_context
def detect(
    context: click.Context,
    model: Path,
    images: str,
    false_alarm_rate: float,
    calibrate: str | None,
    out: Path,
    count: int,
    fail: bool,
    fit: str,
    strict: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Flag the IMAGES that are unlike the normal ones MODEL was trained on.

    MODEL comes from `convae train --anomalies`. Where IMAGES has a test part, as mnist has, that is
    what is judged.

    Leaves in --out: anomalies.csv (one row an image: p-value, score, decision, and a box around
    what deviates most), an overlay for each flagged image, and anomalies.html with these.
    """
    from convae.jobs.anomaly import AnomalyDetector
    from convae.jobs.anomaly.detections import detect_all, write_detections
    from convae.report.runs import prepare_folder

    detector = AnomalyDetector.load(model).set_params(false_alarm_rate=false_alarm_rate)
    height, width, channels = detector.autoencoder_.architecture_.image_shape
    if calibrate is not None:
        detector.calibrate(load(calibrate, (height, width), channels, fit, strict, None).train)
    detector.offset_  # noqa: B018 # refuses a rate before images are read
    dataset, judged, names = load_images(detector.autoencoder_, images, fit, strict, store)
    prepare_folder(out)
    detections = detect_all(detector, judged, names)
    files = write_detections(out, detector, judged, detections, count)
    flagged = [found for found in detections if found.anomaly]
    text = (
        f"{len(flagged):,} of {len(detections):,} images flagged; of normal ones, a share of at "
        f"most {false_alarm_rate:g} would be"
    )
    figures = {
        "num_images": len(detections),
        "num_flagged": len(flagged),
        "false_alarm_rate": false_alarm_rate,
        "images": [found.to_json() for found in detections],
    }
    finish(dataset, figures, files, text, as_json)
    if fail and flagged:
        context.exit(ANOMALIES_FOUND)
