"""The verb `compress`: images as one small archive, by a trained model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from convae.cli.options import (
    Reading,
    examples,
    json_option,
    model_and_images,
    overwrite_option,
    refine_option,
)
from convae.cli.output import echo_json, report_skipped, say
from convae.cli.progress import counted
from convae.cli.reading import load
from convae.errors import ParameterError
from convae.storage.files import printable


@click.command(
    epilog=examples(
        "convae compress parts/model.safetensors pictures/ pictures.cae --compare",
        "convae compress parts/model.safetensors pictures/ pictures.cae --max-error 2",
        "convae compress parts/model.safetensors pictures/ pictures.cae --tiny --refine 4",
        "convae compress parts/model.safetensors more/ pictures.cae --append",
    )
)
@model_and_images
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--lossless",
    is_flag=True,
    help="Keep every pixel exactly (default; same as --max-error 0).",
)
@click.option(
    "--max-error",
    type=int,
    default=0,
    show_default=True,
    metavar="K",
    help="No pixel is off by more than K, at most 127.",
)
@click.option(
    "--tiny",
    is_flag=True,
    help="Keep only the latents, a few bytes per image; decompressing gives MODEL's "
    "reconstructions. Pictures of another size are fitted to the model's.",
)
@refine_option
@click.option(
    "--with-model",
    is_flag=True,
    help="Include what decoding needs, so decompressing takes no model file.",
)
@click.option(
    "--append",
    is_flag=True,
    help="Add to the archive OUTPUT, which must come from the same MODEL, with the same --tiny.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare with PNG, WebP, zlib, bz2 and xz, and with JPEG XL and AVIF if the extra "
    "'formats' is installed.",
)
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@overwrite_option
@json_option
def compress(
    model: Path,
    images: str,
    output: Path,
    lossless: bool,
    max_error: int,
    tiny: bool,
    refine: int,
    with_model: bool,
    append: bool,
    compare: bool,
    strict: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Pack IMAGES into the one file OUTPUT, with a MODEL from `convae train --for codec`.

    Pictures of a folder keep their sizes and names, whatever size the model was trained at;
    metadata of the files is dropped. If IMAGES has a test part, as mnist has, that part is packed.

    In Python: `ImageCodec.compress`.
    """
    from convae import FormatSizes, check_output, compare_formats, load_model, newer_formats

    check_output(output, [model, images], overwrite=overwrite or append)
    if lossless and max_error:
        raise ParameterError(
            f"--lossless must not be combined with a --max-error above 0; received {max_error}. "
            f"Leave one out."
        )
    if append and compare:
        raise ParameterError(
            "--compare must not be combined with --append: it compares whole archives. Leave one "
            "out."
        )
    trained = load_model(model)
    codec = trained.job("codec")
    skipped: list[tuple[str, str]] = []
    sizes = FormatSizes() if compare else None

    def batches() -> Iterator[tuple[Any, Sequence[str]]]:
        shape = trained.architecture.image_shape if tiny else None
        for batch, names in _batches(images, skipped, strict, shape):
            if sizes is not None:
                sizes.add(batch)
            yield batch, names

    summary = codec.compress(
        batches(),
        output,
        max_error=max_error,
        tiny=tiny,
        refinement_steps=refine,
        with_model=with_model,
        append=append,
        model_name=model.name,
    )
    report_skipped(skipped)
    figures: dict[str, Any] = {
        "num_images": summary.num_images,
        "num_bytes": summary.num_bytes,
        "num_raw_bytes": summary.num_raw_bytes,
        "model_bytes": summary.model_bytes,
        "max_error": max_error,
        "tiny": tiny,
        "mse": summary.mse,
        "skipped": [list(pair) for pair in skipped],
    }
    lines = summary.lines()
    if sizes is not None:
        figures["peers"] = sizes.finish()
        lines += compare_formats(summary, figures["peers"], with_model)
        if not newer_formats():
            lines.append('Not counted: JPEG XL and AVIF; pip install "convae[formats]"')
    if as_json:
        echo_json({**figures, "files": {"archive": str(output)}})
        return
    say("\n".join([*lines, f"wrote {printable(output)}"]))


def _batches(
    images: str,
    skipped: list[tuple[str, str]],
    strict: bool,
    shape: tuple[int, int, int] | None,
) -> Iterator[tuple[Any, Sequence[str]]]:
    """Images at `shape`; if it is None, pictures at their own sizes, and arrays as a whole."""
    from convae import PICTURE_EXTENSIONS, exact_batches

    path = Path(images)
    if shape is None and (path.is_dir() or path.suffix.lower() in PICTURE_EXTENSIONS):
        with counted(f"packing {images}") as progress:
            yield from exact_batches(path, skipped, strict=strict, progress=progress)
        return
    size, channels = (shape[:2], shape[2]) if shape is not None else (None, None)
    dataset = load(images, Reading("pad", strict, None), size, channels)
    if dataset.test is None:
        yield dataset.train, dataset.paths or ()
    else:
        yield dataset.test, dataset.test_paths or ()
