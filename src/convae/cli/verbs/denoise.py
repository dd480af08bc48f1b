"""The verb `denoise`: pictures of any size without their noise."""

from pathlib import Path

import click

from convae.cli.options import (
    examples,
    json_option,
    model_and_images,
    overwrite_option,
    strict_option,
)
from convae.cli.output import echo_json, report_notes, report_skipped, say
from convae.cli.progress import counted


@click.command(
    epilog=examples(
        "convae denoise parts/model.safetensors noisy/ clean/",
        "convae denoise parts/model.safetensors scan.tif clean/ --json",
    )
)
@model_and_images
@click.argument("output", type=click.Path(path_type=Path))
@strict_option
@overwrite_option
@json_option
def denoise(
    model: Path, images: str, output: Path, strict: bool, overwrite: bool, as_json: bool
) -> None:
    """Take the noise out of IMAGES with a MODEL from `convae train --for denoising`.

    Pictures keep their sizes, bits and names, whatever size the model was trained at. How strong
    their noise is need not be told. Of data sets with test images, only these are denoised.

    Leaves in the folder OUTPUT: pictures/ (PNG files), noise.csv (the noise level of each picture)
    and comparison.png (the first ones, before and after).

    In Python: `Denoiser.denoise`, and `write_denoised` for the files.
    """
    from convae import check_dataset, check_denoised, exact_batches, load_model, write_denoised

    trained = load_model(model)
    check_dataset(images)
    check_denoised(output, [model, images], overwrite=overwrite)
    denoiser = trained.job("denoising")
    skipped: list[tuple[str, str]] = []
    notes: list[str] = []
    with counted(f"denoising {images}") as progress:
        batches = exact_batches(images, skipped, notes=notes, strict=strict, progress=progress)
        result = write_denoised(output, denoiser, batches)
    report_skipped(skipped)
    report_notes(notes)
    if as_json:
        figures = {"skipped": [list(pair) for pair in skipped], "notes": notes}
        echo_json({**result.figures, **figures, "files": result.files})
        return
    say(*result.lines, f"wrote {output}")
