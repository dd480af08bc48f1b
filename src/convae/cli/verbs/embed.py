"""The verb `embed`: the latents of images as a file."""

from pathlib import Path

import click

from convae.cli.options import (
    Reading,
    examples,
    image_options,
    json_option,
    model_and_images,
    overwrite_option,
    refine_option,
)
from convae.cli.output import finish
from convae.cli.reading import load_for
from convae.errors import ParameterError
from convae.storage.files import printable


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
@overwrite_option
@json_option
def embed(
    model: Path,
    images: str,
    output: Path,
    refine: int,
    reading: Reading,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the latents of IMAGES to OUTPUT.

    OUTPUT ends in .npy (float32, one row per image) or in .csv (with a name for each image). If
    IMAGES has a test part, as mnist has, that part is embedded.

    In Python: `ConvAutoencoder.transform`, and `write_latents` for the file.
    """
    from convae import (
        check_dataset,
        check_latents_path,
        check_output,
        load_model,
        prepare_folder,
        write_latents,
    )

    check_latents_path(output)
    trained = load_model(model)
    check_dataset(images)
    check_output(output, [model, images], overwrite=overwrite)
    if reading.store == output:
        raise ParameterError(
            f"OUTPUT must be another file than --store; received {printable(output)} for both. "
            f"Pass another path for one of them."
        )
    trained.network.start()
    dataset, originals, names = load_for(trained, images, reading)
    prepare_folder(output.parent)
    latents = trained.autoencoder.transform(originals, refinement_steps=refine)
    finish(dataset, write_latents(output, latents, names), as_json)
