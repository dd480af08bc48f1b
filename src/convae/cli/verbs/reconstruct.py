"""The verb `reconstruct`: a model's reconstructions of images, and their errors."""

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
    refine_option,
)
from convae.cli.output import finish
from convae.cli.reading import load_for


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
@overwrite_option
@json_option
def reconstruct(
    model: Path,
    images: str,
    out: Path,
    count: int,
    refine: int,
    reading: Reading,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Reconstruct IMAGES with MODEL, and show how well.

    If IMAGES has a test part, as mnist has, that part is reconstructed.

    Leaves in --out: output_image.png (ten originals and reconstructions), gallery.png (with the
    differences and errors) and errors.csv (one row per image: name, MSE, PSNR, SSIM).

    In Python: `ConvAutoencoder.reconstruct`, and `write_reconstructions` for the files.
    """
    from convae import (
        check_dataset,
        check_reconstructions,
        load_model,
        prepare_folder,
        write_reconstructions,
    )

    trained = load_model(model)
    check_dataset(images)
    check_reconstructions(out, [images], overwrite=overwrite)
    trained.network.start()
    dataset, originals, names = load_for(trained, images, reading)
    prepare_folder(out)
    result = write_reconstructions(out, trained.autoencoder, originals, names, count, refine)
    finish(dataset, result, as_json)
