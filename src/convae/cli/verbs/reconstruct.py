"""The verbs `reconstruct` and `embed`: what a model makes of images; it writes no file itself."""

from pathlib import Path

import click

from convae.cli.console import (
    examples,
    finish,
    image_options,
    json_option,
    load_for,
    model_and_images,
    out_option,
    refine_option,
)
from convae.errors import ParameterError
from convae.storage.files import printable


@click.command(
    epilog=examples(
        "convae reconstruct mnist/model.safetensors mnist --out pictures",
        "convae reconstruct parts/model.safetensors pictures/ --count 100 --refine 4",
    )
)
@model_and_images
@out_option("reconstructions")
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=40,
    show_default=True,
    help="Images in the gallery, from the best to the worst reconstruction in even steps.",
)
@refine_option
@image_options
@json_option
def reconstruct(
    model: Path,
    images: str,
    out: Path,
    count: int,
    refine: int,
    fit: str,
    strict: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Reconstruct IMAGES with MODEL, and show how well.

    Where IMAGES has a test part, as mnist has, that is what is reconstructed.

    Leaves in --out: output_image.png (ten originals and reconstructions), gallery.png (with the
    differences and errors) and errors.csv (one row an image: name, MSE, PSNR, SSIM).
    """
    from convae.report.runs import prepare_folder, write_reconstructions

    estimator, dataset, originals, names = load_for(model, images, fit, strict, store)
    prepare_folder(out)
    figures, files = write_reconstructions(out, estimator, originals, names, count, refine)
    text = (
        f"{len(originals):,} images: MSE {figures['mse']:.5f}, PSNR {figures['psnr_db']:.1f} dB, "
        f"SSIM {figures['ssim']:.4f}"
    )
    finish(dataset, {"num_images": len(originals), **figures}, files, text, as_json)


@click.command(
    epilog=examples(
        "convae embed mnist/model.safetensors mnist latents.npy",
        "convae embed parts/model.safetensors pictures/ latents.csv",
    )
)
@model_and_images
@click.argument("output", type=click.Path(path_type=Path))
@refine_option
@image_options
@json_option
def embed(
    model: Path,
    images: str,
    output: Path,
    refine: int,
    fit: str,
    strict: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Write the latents of IMAGES to OUTPUT.

    OUTPUT ends in .npy (float32, one row an image) or in .csv (with a name for each image). Where
    IMAGES has a test part, as mnist has, that is what is embedded.
    """
    from convae.report.runs import check_latents_path, prepare_folder, write_latents

    check_latents_path(output)
    if store == output:
        raise ParameterError(
            f"OUTPUT must be another file than --store; received {printable(output)} for both. "
            f"Pass another path for one of them."
        )
    estimator, dataset, originals, names = load_for(model, images, fit, strict, store)
    prepare_folder(output.parent)
    latents = estimator.transform(originals, refinement_steps=refine)
    write_latents(output, latents, names)
    num_images, latent_dim = latents.shape
    finish(
        dataset,
        {"num_images": num_images, "latent_dim": latent_dim},
        {"latents": str(output)},
        f"{num_images:,} images, {latent_dim} numbers each",
        as_json,
    )
