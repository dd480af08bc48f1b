"""The verb `detect`: flag images that are unlike the normal ones."""

from dataclasses import replace
from pathlib import Path

import click

from convae.cli.options import (
    Reading,
    examples,
    image_options,
    json_option,
    model_and_images,
    out_option,
    overwrite_option,
)
from convae.cli.output import finish, say
from convae.cli.reading import load, load_for

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
    help="Share of normal images that may be flagged. Default: the model's own, which is 0.01 "
    "after `convae train`, or the smallest that the calibration images support.",
)
@click.option(
    "--calibrate",
    metavar="DATA",
    help="Calibrate on these normal images, never trained on, instead of the model's own.",
)
@out_option("anomalies")
@click.option(
    "--count",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    help="Most overlays to write, for the most suspicious images.",
)
@click.option("--fail", is_flag=True, help="Exit with code 3 if any image is flagged.")
@image_options
@overwrite_option
@json_option
@click.pass_context
def detect(
    context: click.Context,
    model: Path,
    images: str,
    false_alarm_rate: float | None,
    calibrate: str | None,
    out: Path,
    count: int,
    fail: bool,
    reading: Reading,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Flag the IMAGES that are unlike the normal ones MODEL was trained on.

    MODEL comes from `convae train --for anomalies`. If IMAGES has a test part, as mnist has, that
    part is judged.

    Leaves in --out: anomalies.csv (one row per image: p-value, score, decision, and a box around
    what deviates most), an overlay for each flagged image, and anomalies.html with these.

    In Python: `AnomalyDetector`, and `write_detections` for the files.
    """
    from convae import (
        check_dataset,
        check_detections,
        load_model,
        prepare_folder,
        write_detections,
    )

    trained = load_model(model)
    check_dataset(images)
    check_detections(out, [images], overwrite=overwrite)
    detector = trained.job("anomalies")
    height, width, channels = trained.architecture.image_shape
    if calibrate is not None:
        plain = replace(reading, store=None)
        detector.calibrate(load(calibrate, plain, (height, width), channels).train)
    smallest = detector.calibration_.smallest_rate
    usual = detector.false_alarm_rate
    if false_alarm_rate is None and smallest > usual:
        false_alarm_rate = smallest
        say(
            f"the calibration images support a false-alarm rate of {smallest:.3g} or more, which "
            f"is taken; for {usual:g} there must be "
            f"{detector.calibration_.num_needed(usual)} of them",
            err=True,
        )
    detector.false_alarm_rate = usual if false_alarm_rate is None else false_alarm_rate
    detector.offset_  # noqa: B018 # refuses a rate before images are read
    dataset, judged, names = load_for(trained, images, reading)
    prepare_folder(out)
    result = write_detections(out, detector, judged, names, count)
    finish(dataset, result, as_json)
    if fail and result.figures["num_flagged"]:
        context.exit(ANOMALIES_FOUND)
