"""The verb `compress`: images as one small archive, by a trained model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from convae.cli.options import (
    examples,
    json_option,
    model_and_images,
    overwrite_option,
    refine_option,
    strict_option,
)
from convae.cli.output import echo_json, report_notes, report_skipped, say
from convae.cli.progress import counted
from convae.errors import ParameterError


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
@strict_option
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

    Everything in IMAGES is packed: all pictures of a folder and its subfolders, and those in the
    rows of Parquet files. They keep their sizes and names, whatever size the model was trained at;
    metadata of the files is dropped. Of mnist, of digits, and of a .npz file or an IDX folder with
    test images, only the test images are packed.

    In Python: `ImageCodec.compress`.
    """
    from convae import (
        FormatSizes,
        check_dataset,
        check_output,
        compare_formats,
        load_model,
        newer_formats,
    )

    if append and overwrite:
        raise ParameterError(
            "--append must not be combined with --overwrite: it keeps what is there. Leave one out."
        )
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
    check_dataset(images)
    check_output(output, [model, images], overwrite=overwrite or append)
    codec = trained.job("codec")
    skipped: list[tuple[str, str]] = []
    notes: list[str] = []
    sizes = FormatSizes() if compare else None

    def batches() -> Iterator[tuple[Any, Sequence[str]]]:
        shape = trained.architecture.image_shape if tiny else None
        for batch, names in _batches(images, skipped, notes, strict, shape):
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
    report_notes(notes)
    figures: dict[str, Any] = {
        "num_images": summary.num_images,
        "num_bytes": summary.num_bytes,
        "num_raw_bytes": summary.num_raw_bytes,
        "model_bytes": summary.model_bytes,
        "max_error": max_error,
        "tiny": tiny,
        "mse": summary.mse,
        "skipped": [list(pair) for pair in skipped],
        "notes": notes,
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
    say(*lines, f"wrote {output}")


def _batches(
    images: str,
    skipped: list[tuple[str, str]],
    notes: list[str],
    strict: bool,
    shape: tuple[int, int, int] | None,
) -> Iterator[tuple[Any, Sequence[str]]]:
    """Images at `shape`; if it is None, as they are."""
    from convae import exact_batches, fitted_batches

    with counted(f"packing {images}") as progress:
        if shape is None:
            yield from exact_batches(images, skipped, notes=notes, strict=strict, progress=progress)
        else:
            yield from fitted_batches(
                images, shape[:2], shape[2], skipped,
                notes=notes, strict=strict, progress=progress,
            )  # fmt: skip
