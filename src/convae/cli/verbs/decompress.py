"""The verb `decompress`: an archive as pictures or as one array. It loads no backend."""

import functools
from pathlib import Path

import click

from convae.cli.options import examples, json_option, overwrite_option
from convae.cli.output import echo_json, say
from convae.cli.progress import counted
from convae.errors import ParameterError
from convae.storage.files import printable


@click.command(
    epilog=examples(
        "convae decompress pictures.cae pictures-again/ --model parts/model.safetensors",
        "convae decompress pictures.cae pictures.npy --model parts/model.safetensors",
    )
)
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The model that compressed it; not needed if the archive includes its model.",
)
@overwrite_option
@json_option
def decompress(
    archive: Path, output: Path, model: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Unpack ARCHIVE into OUTPUT: a folder of PNG pictures, or one array if it ends in .npy.

    It needs no backend, and gives the same pixels on every machine.

    In Python: `ImageCodec.open`, or `ImageArchive` for an archive that holds its model.
    """
    from convae import (
        PICTURE_EXTENSIONS,
        ImageArchive,
        check_output,
        load_model,
        write_array,
        write_pictures,
    )

    ending = output.suffix.lower()
    if ending in (".npz", *PICTURE_EXTENSIONS) and not output.is_dir():
        raise ParameterError(
            f"OUTPUT must be a folder, or an array that ends in .npy; received "
            f"{printable(output)}. Choose one of them."
        )
    # A folder may exist; whether its files may be replaced is known when they have names.
    inputs = [archive, *filter(None, [model])]
    check_output(output, inputs, overwrite=overwrite or output.suffix != ".npy")
    codec = None if model is None else load_model(model).job("codec")
    write = (
        write_array
        if output.suffix == ".npy"
        else functools.partial(write_pictures, overwrite=overwrite)
    )
    with (
        ImageArchive(archive) if codec is None else codec.open(archive) as opened,
        counted(f"unpacking {printable(archive)}") as progress,
    ):
        result = write(opened, output, progress)
    if as_json:
        echo_json({**result.figures, "files": result.files})
        return
    say(*result.lines, f"wrote {output}")
