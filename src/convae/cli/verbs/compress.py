"""The verbs `compress` and `decompress`: images as a small archive and back, by a trained model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from convae.cli.console import (
    echo_json,
    examples,
    json_option,
    judged_part,
    load,
    model_and_images,
    refine_option,
    report_skipped,
)
from convae.errors import ParameterError
from convae.storage.files import printable


@click.command(
    epilog=examples(
        "convae compress parts/model.safetensors pictures/ pictures.cae --report",
        "convae compress parts/model.safetensors pictures/ pictures.cae --max-error 2",
        "convae compress parts/model.safetensors pictures/ pictures.cae --tiny --refine 4",
        "convae compress parts/model.safetensors more/ pictures.cae --append",
    )
)
@model_and_images
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--lossless", is_flag=True, help="Every pixel as it is, which is the default: --max-error 0."
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
    help="A few bytes an image: its latents alone, from which MODEL makes an image like it. "
    "Pictures of another size are fitted to the model's.",
)
@refine_option
@click.option(
    "--with-model",
    is_flag=True,
    help="Put into the archive what decoding needs, so that no model file must go with it.",
)
@click.option(
    "--append",
    is_flag=True,
    help="Add to the archive OUTPUT, which the same MODEL began, --tiny or not as now.",
)
@click.option(
    "--report",
    is_flag=True,
    help="Say what PNG, WebP, zlib, bz2 and xz would take; JPEG XL and AVIF too, with the extra "
    "'report'.",
)
@click.option("--strict", is_flag=True, help="Refuse the first picture that cannot be read.")
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
    report: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Pack IMAGES into the one file OUTPUT, with a MODEL from `convae train --codec`.

    Pictures of a folder keep their sizes and names, whatever the model was trained at; their files'
    own data beside the pixels is not kept. Where IMAGES has a test part, as mnist has, that is what
    is packed.
    """
    from convae.baselines.formats import Accounting, newer_formats
    from convae.images.metrics import psnr_db
    from convae.jobs.codec.codec import ImageCodec

    if lossless and max_error:
        raise ParameterError(
            f"--lossless must go with no --max-error but 0; received {max_error}. Leave one out."
        )
    if append and report:
        raise ParameterError(
            "--report must go with no --append: it compares an archive with all images in it. "
            "Leave one out."
        )
    codec = ImageCodec.load(model)
    skipped: list[tuple[str, str]] = []
    accounting = Accounting() if report else None

    def batches() -> Iterator[tuple[Any, Sequence[str]]]:
        shape = codec.autoencoder_.architecture_.image_shape if tiny else None
        for batch, names in _batches(images, skipped, strict, shape):
            if accounting is not None:
                accounting.add(batch)
            yield batch, names

    result = codec.compress(
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
        "num_images": result.num_images,
        "num_bytes": result.num_bytes,
        "num_raw_bytes": result.num_raw_bytes,
        "model_bytes": result.model_bytes,
        "max_error": max_error,
        "tiny": tiny,
        "mse": result.mse,
        "skipped": [list(pair) for pair in skipped],
    }
    lines = [
        f"{result.num_images:,} images in {result.num_bytes:,} bytes, "
        f"{8 * result.num_bytes / result.num_raw_bytes:.3f} bits for each 8 of pixels"
    ]
    if result.mse:
        lines.append(f"MSE {result.mse:.5f} (PSNR {psnr_db(result.mse):.1f} dB)")
    if accounting is not None:
        peers = accounting.finish()
        figures["peers"] = peers
        lines += _judge(result, peers, with_model)
        if not newer_formats():
            lines.append('Not counted: JPEG XL and AVIF; pip install "convae[report]"')
    if as_json:
        echo_json({**figures, "files": {"archive": str(output)}})
        return
    click.echo("\n".join([*lines, f"wrote {printable(output)}"]))


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
    help="The model that packed it; not needed for an archive that was written --with-model.",
)
@json_option
def decompress(archive: Path, output: Path, model: Path | None, as_json: bool) -> None:
    """Unpack ARCHIVE into OUTPUT: a folder of PNG pictures, or one array where it ends in .npy.

    It needs no backend, and gives the same pixels on every machine.
    """
    from convae.cli.progress import counted
    from convae.coding.archive import ImageArchive, coding_models
    from convae.jobs.codec.extraction import write_array, write_pictures
    from convae.storage.modelfile import read_model

    coding = coding_models(read_model(model), str(model)) if model is not None else ()
    write = write_array if output.suffix == ".npy" else write_pictures
    with (
        ImageArchive(archive, coding) as opened,
        counted(f"unpacking {printable(archive)}") as progress,
    ):
        num_images = write(opened, output, progress)
    if as_json:
        echo_json({"num_images": num_images, "files": {"images": str(output)}})
        return
    click.echo(f"{num_images:,} images\nwrote {printable(output)}")


def _batches(
    images: str,
    skipped: list[tuple[str, str]],
    strict: bool,
    shape: tuple[int, int, int] | None,
) -> Iterator[tuple[Any, Sequence[str]]]:
    """Images at a shape; or as they are: pictures at their own sizes, arrays as a whole."""
    from convae.cli.progress import counted
    from convae.images import EXTENSIONS, exact_batches

    path = Path(images)
    if shape is None and (path.is_dir() or path.suffix.lower() in EXTENSIONS):
        with counted(f"packing {images}") as progress:
            yield from exact_batches(path, skipped, strict=strict, progress=progress)
        return
    size, channels = (shape[:2], shape[2]) if shape is not None else (None, None)
    given, paths = judged_part(load(images, size, channels, "pad", strict, None))
    yield given, paths or ()


def _judge(result: Any, peers: dict[str, int], with_model: bool) -> list[str]:  # noqa: ANN401
    """How the archive stands beside other ways, and whether the model is worth its bytes."""
    from convae.baselines.formats import break_even

    packed = result.num_bytes - (result.model_bytes if with_model else 0)
    whole = packed + result.model_bytes
    ours = {"convae, without the model": packed, "convae, with the model": whole}
    rows = sorted({**ours, **peers}.items(), key=lambda row: row[1])
    lines = [f"  {size:>14,} bytes  {name}" for name, size in rows]
    best, size = min(peers.items(), key=lambda row: row[1])
    enough = break_even(result.model_bytes, packed / result.num_images, size / result.num_images)
    if enough is None:
        lines.append(f"Do not use it for these images: {best}, takes less, the model not counted.")
    elif whole >= size:
        lines.append(
            f"The model, counted once, is paid for from about {enough:,} such images on; for these "
            f"alone {best}, takes less."
        )
    else:
        lines.append(f"The model, counted once, is paid for from about {enough:,} such images on.")
    return lines
