"""The verb `sample`: new images, and images between, along and around given ones."""

from pathlib import Path
from typing import Any

import click

from convae.cli.options import examples, json_option, overwrite_option
from convae.cli.output import echo_json, say
from convae.errors import ParameterError

SAMPLES, STEPS = 100, 9


@click.command(
    epilog=examples(
        "convae sample parts/model.safetensors --out sheet.png",
        "convae sample parts/model.safetensors --between one.png other.png --out between.gif",
        "convae sample parts/model.safetensors --around one.png --strength 0.3",
        "convae sample parts/model.safetensors --along 3 --count 15",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-n",
    "--count",
    type=int,
    help=f"How many images; {SAMPLES} new ones by default, {STEPS} of the others.",
)
@click.option(
    "--between",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Images on the way from one picture to another.",
)
@click.option(
    "--around",
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="Variations of a picture; with --along, images that differ from it in that number.",
)
@click.option(
    "--strength",
    type=float,
    help="Of variations, from 0 (the picture) to 1 (new images of its kind); 0.5 by default.",
)
@click.option(
    "--along", type=int, metavar="NUMBER", help="Images that differ in one latent number, from 0."
)
@click.option(
    "--label",
    help="New images of this kind alone, for a model trained with --by-label.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other images.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("samples.png"),
    show_default=True,
    help="A sheet (.png), an animation (.gif, .apng), an array (.npy), or a folder (no ending).",
)
@overwrite_option
@json_option
def sample(
    model: Path,
    count: int | None,
    between: tuple[Path, Path] | None,
    around: Path | None,
    strength: float | None,
    along: int | None,
    label: str | None,
    seed: int,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make new images with MODEL, which comes from `convae train --for sampling`.

    In Python: `LatentSampler`, and `write_samples` for the files.
    """
    from convae import check_samples_path, load_model, read_images, write_samples

    if (between and (around or along is not None)) or (strength is not None and not around):
        raise ParameterError(
            "--between goes alone, and --strength with --around; received another combination. "
            "Leave one out."
        )
    varied = bool(around) and along is None
    new = not between and not around and along is None
    if label is not None and not new:
        raise ParameterError(
            f"--label must go with new images alone; received {label} and another way to make "
            f"them. Leave one out."
        )
    num_images = count if count is not None else SAMPLES if new else STEPS
    check_samples_path(out, num_images, overwrite=overwrite)
    trained = load_model(model)
    sampler = trained.job("sampling")
    trained.network.start()
    height, width, channels = trained.architecture.image_shape

    def read(*paths: Path) -> Any:  # noqa: ANN401 # an array of NumPy
        return read_images(paths, size=(height, width), channels=channels, strict=True).images

    if between:
        images = sampler.interpolate(*read(*between), num_images)
    elif along is not None:
        images = sampler.traverse(along, read(around)[0] if around else None, num_images)
    elif around:
        share = 0.5 if strength is None else strength
        images = sampler.vary(read(around)[0], num_images, share, seed)
    else:
        images = sampler.sample(num_images, seed, label)
    # What changes step by step stands in one row.
    result = write_samples(out, images, 0 if new or varied else len(images))
    if as_json:
        echo_json({**result.figures, "files": result.files})
        return
    say(*result.lines, f"wrote {out}")
