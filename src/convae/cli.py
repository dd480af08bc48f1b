"""The command line: each verb parses, calls the public classes and prints; it computes nothing.

Results go to standard output, progress and errors to standard error. Exit codes: 0 fine, 1 the user
can fix it, 2 wrong usage, 130 interrupted.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import convae
from convae.errors import ConvaeError, DataUnavailableError, ParameterError
from convae.nn.config import LOSS_NAMES, PRESETS, SCHEDULE_NAMES, Architecture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convae.datasets import Dataset
    from convae.estimator import ConvAutoencoder

Verb = TypeVar("Verb", bound=Callable[..., None])

DEMO_EPOCHS = 3
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: What follows the program's name; None takes those of the process.
    """
    try:
        commands.main(arguments, prog_name="convae", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConvaeError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    return 0


def _examples(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _json_option(verb: Verb) -> Verb:
    text = "Print one JSON object instead of text."
    return click.option("--json", "as_json", is_flag=True, help=text)(verb)


def _image_options(verb: Verb) -> Verb:
    """How pictures of any size and kind are brought to the model's."""
    for option in (
        click.option(
            "--strict",
            is_flag=True,
            help="Refuse the first picture that cannot be read; skip none.",
        ),
        click.option(
            "--fit",
            type=click.Choice(["pad", "crop", "stretch"]),
            default="pad",
            show_default=True,
            help="How images of another size are fitted.",
        ),
    ):
        verb = option(verb)
    return verb


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96})
@click.version_option(convae.__version__, prog_name="convae")
def commands() -> None:
    """One small convolutional autoencoder, trained from a plain set of images, in one safe file."""


@commands.command(epilog=_examples("convae demo", "convae demo --epochs 20 --out demo"))
@click.option("--epochs", type=int, help="Default: 3 on MNIST, 20 on the embedded digits.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder for the results; earlier ones are replaced. Default: the current folder.",
)
@_json_option
def demo(epochs: int | None, out: Path, as_json: bool) -> None:
    """Train on MNIST and picture the result.

    Where MNIST is not at hand and cannot be downloaded, the 1,797 handwritten digits that ship with
    scikit-learn take its place.
    """
    from convae.datasets import load_dataset

    try:
        dataset = load_dataset("mnist")
        short = DEMO_EPOCHS
    except DataUnavailableError:
        click.echo(
            "MNIST is not on this machine and cannot be downloaded now: training on the 1,797 "
            "handwritten digits embedded in scikit-learn instead.",
            err=True,
        )
        dataset = load_dataset("digits")
        short = PRESETS["reference"]["epochs"]
    changes = {"epochs": short if epochs is None else epochs}
    _train(dataset, "reference", changes, out, resume=False, overwrite=True, as_json=as_json)


@commands.command(
    epilog=_examples(
        "convae train mnist --preset reference --out mnist",
        "convae train pictures/ --validation-split 0.1 --patience 5 --out parts",
        "convae train pictures/ --validation-split 0.1 --patience 5 --out parts --resume",
    )
)
@click.argument("data")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("convae-out"),
    show_default=True,
    help="Folder for the results.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="reference",
    show_default=True,
    help="The recipe; the options below change it.",
)
@click.option("--filters", help="Filters of each stage, as in 32,64.")
@click.option("--latent-dim", type=int, help="Numbers an image is described by.")
@click.option("--loss", type=click.Choice(LOSS_NAMES), help="What training minimises.")
@click.option("--epochs", type=int, help="Passes over the images.")
@click.option("--batch-size", type=int, help="Images a step.")
@click.option("--learning-rate", type=float, help="First step size of Adam.")
@click.option("--learning-rate-schedule", type=click.Choice(SCHEDULE_NAMES), help="How it falls.")
@click.option("--validation-split", type=float, help="Fraction of the images to validate on.")
@click.option("--patience", type=int, help="Stop after so many epochs that do not improve.")
@click.option("--seed", type=int, help="Same seed, same machine, same backend: same model.")
@click.option(
    "--size",
    help="Height and width to train at, as in 64x48 or 64. Default: the images' own where they "
    "agree and are at most 128, otherwise at most 64.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3", "4"]),
    help="Grey, RGB or RGBA. Default: what is there.",
)
@_image_options
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="Folder for a TensorBoard log."
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --out.")
@click.option("--overwrite", is_flag=True, help="Replace a finished model in --out.")
@_json_option
def train(
    data: str,
    out: Path,
    preset: str,
    size: str | None,
    channels: str | None,
    fit: str,
    strict: bool,
    tensorboard: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **recipe: Any,  # noqa: ANN401 # one option for each parameter of ConvAutoencoder
) -> None:
    """Train on DATA: mnist, digits, a folder of pictures, or a .npz, .npy, IDX or .parquet file.

    Leaves in --out: the model file, history.csv, the loss curve, and output_image.png with ten
    images on the left and their reconstructions on the right.
    """
    recipe["filters"] = _parse_numbers(recipe["filters"], "--filters", ",", "32,64")
    changes = {name: value for name, value in recipe.items() if value is not None}
    shape = _parse_numbers(size, "--size", "x", "64x48")
    dataset = _load(data, shape, None if channels is None else int(channels), fit, strict)
    _train(
        dataset,
        preset,
        changes,
        out,
        resume=resume,
        overwrite=overwrite,
        as_json=as_json,
        tensorboard=tensorboard,
    )


def _train(
    dataset: "Dataset",
    preset: str,
    changes: dict[str, Any],
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    tensorboard: Path | None = None,
) -> None:
    from convae.baseline import pca_mse
    from convae.estimator import ConvAutoencoder
    from convae.metrics import psnr_db
    from convae.progress import TrainingProgress
    from convae.runs import CHECKPOINT, prepare_folder, write_run

    model = ConvAutoencoder.from_preset(preset, **changes)
    folder = prepare_folder(out, overwrite=overwrite or resume)
    observers: list[Any] = [TrainingProgress()]
    if tensorboard is not None:
        from convae.tensorboard import TensorBoardLog

        observers.append(TensorBoardLog(tensorboard))
    _report_dataset(dataset)
    checkpoint = folder / CHECKPOINT
    try:
        model.fit(dataset.train, checkpoint_path=checkpoint, resume=resume, observers=observers)
    except KeyboardInterrupt:
        click.echo(
            f"Interrupted; the state is kept in {checkpoint}. Go on with the same command and "
            f"--resume.",
            err=True,
        )
        raise
    split, judged = "test", dataset.test
    if judged is None:
        split, judged = "training", dataset.train
    files = write_run(folder, model, judged)
    mse = -model.score(judged)
    latent_dim = model.architecture_.latent_dim
    cheap = pca_mse(dataset.train, judged, latent_dim)
    figures = {
        "num_images": len(dataset.train),
        "image_shape": list(model.architecture_.image_shape),
        "preset": preset,
        "epochs": model.n_iter_,
        "judged_on": split,
        "mse": mse,
        "psnr_db": psnr_db(mse),
        "pca_mse": cheap,
    }
    text = (
        f"{split} MSE {mse:.5f} (PSNR {psnr_db(mse):.1f} dB) with {latent_dim} numbers an image; "
        f"PCA with as many gives {cheap:.5f}"
    )
    _finish(dataset, figures, files, text, as_json)


@commands.command(
    epilog=_examples(
        "convae reconstruct mnist/model.safetensors mnist --out pictures",
        "convae reconstruct parts/model.safetensors pictures/ --count 100",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reconstructions"),
    show_default=True,
    help="Folder for the results; earlier ones are replaced.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=40,
    show_default=True,
    help="Images in the gallery, from the best to the worst reconstruction in even steps.",
)
@_image_options
@_json_option
def reconstruct(
    model: Path, images: str, out: Path, count: int, fit: str, strict: bool, as_json: bool
) -> None:
    """Reconstruct IMAGES with MODEL, and show how well.

    Leaves in --out: output_image.png (ten originals and reconstructions), gallery.png (with the
    differences and errors) and errors.csv (one row an image: name, MSE, PSNR, SSIM).
    """
    from convae.runs import write_reconstructions

    estimator, dataset, originals, names = _load_for(model, images, fit, strict)
    figures, files = write_reconstructions(out, estimator, originals, names, count)
    text = (
        f"{len(originals):,} images: MSE {figures['mse']:.5f}, PSNR {figures['psnr_db']:.1f} dB, "
        f"SSIM {figures['ssim']:.4f}"
    )
    _finish(dataset, {"num_images": len(originals), **figures}, files, text, as_json)


@commands.command(
    epilog=_examples(
        "convae embed mnist/model.safetensors mnist latents.npy",
        "convae embed parts/model.safetensors pictures/ latents.csv",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images")
@click.argument("output", type=click.Path(path_type=Path))
@_image_options
@_json_option
def embed(model: Path, images: str, output: Path, fit: str, strict: bool, as_json: bool) -> None:
    """Write the latents of IMAGES to OUTPUT.

    OUTPUT ends in .npy (float32, one row an image) or in .csv (with a name for each image).
    """
    from convae.runs import check_latents_path, write_latents

    check_latents_path(output)
    estimator, dataset, originals, names = _load_for(model, images, fit, strict)
    latents = estimator.transform(originals)
    write_latents(output, latents, names)
    num_images, latent_dim = latents.shape
    _finish(
        dataset,
        {"num_images": num_images, "latent_dim": latent_dim},
        {"latents": str(output)},
        f"{num_images:,} images, {latent_dim} numbers each",
        as_json,
    )


@commands.command(epilog=_examples("convae info", "convae info mnist/model.safetensors"))
@click.argument("model", type=click.Path(path_type=Path), required=False)
@_json_option
def info(model: Path | None, as_json: bool) -> None:
    """Print what MODEL is: layers, training, data, versions.

    Without MODEL: the layers of the reference network for MNIST. It loads no backend.
    """
    import dataclasses

    from convae.nn.table import layer_table

    if model is None:
        preset = PRESETS["reference"]
        architecture = Architecture(28, 28, 1, preset["filters"], preset["latent_dim"])
        report: dict[str, Any] = {}
    else:
        from convae.modelfile import model_identity, read_model

        contents = read_model(model)
        architecture = contents.architecture
        report = {
            "model": str(model),
            "sha256": model_identity(model),
            "data": contents.data,
            "training": contents.training,
            "versions": contents.versions,
        }
    rows = layer_table(architecture)
    total = sum(row.num_parameters for row in rows)
    trainable = sum(row.num_trainable for row in rows)
    report |= {
        "architecture": architecture.to_json(),
        "num_parameters": total,
        "num_trainable": trainable,
        "num_non_trainable": total - trainable,
    }
    if as_json:
        click.echo(json.dumps({**report, "layers": [dataclasses.asdict(row) for row in rows]}))
        return
    click.echo("autoencoder")
    for part in ("encoder", "decoder"):
        layers = [row for row in rows if row.model == part]
        click.echo(f"  {part:<26}{'':<18}{'':<18}{sum(row.num_parameters for row in layers):>10,}")
        for row in layers:
            shape = " x ".join(map(str, row.output_shape))
            click.echo(f"    {row.name:<24}{row.kind:<20}{shape:<16}{row.num_parameters:>10,}")
    click.echo(f"parameters {total:,}: {trainable:,} trainable, {total - trainable:,} not")
    if model is not None:
        _echo_training(report)


def _echo_training(report: dict[str, Any]) -> None:
    data, training = report["data"], report["training"]
    shape = " x ".join(map(str, data.get("image_shape", [])))
    click.echo(f"trained on {data.get('num_images')} images of {shape} ({data.get('dtype')})")
    history = training.get("history") or [{}]
    losses = {key: value for key, value in history[-1].items() if value is not None}
    click.echo(f"last epoch {json.dumps(losses)}")
    click.echo(f"options {json.dumps(training.get('options'))}")
    click.echo(f"versions {json.dumps(report['versions'])}")
    click.echo(f"sha256 {report['sha256']}")


def _load(
    data: str, size: tuple[int, ...] | None, channels: int | None, fit: str, strict: bool
) -> "Dataset":
    from convae.datasets import load_dataset
    from convae.progress import counted

    with counted(f"reading {data}") as progress:
        return load_dataset(
            data,
            size=size,  # type: ignore[arg-type] # checked there
            channels=channels,
            fit=fit,  # type: ignore[arg-type] # click.Choice let no other through
            strict=strict,
            progress=progress,
        )


def _load_for(
    model: Path, images: str, fit: str, strict: bool
) -> "tuple[ConvAutoencoder, Dataset, NDArray[np.generic], list[str]]":
    """A model, and images at its size: the test part where there is one."""
    from convae.estimator import ConvAutoencoder

    estimator = ConvAutoencoder.load(model)
    height, width, channels = estimator.architecture_.image_shape
    dataset = _load(images, (height, width), channels, fit, strict)
    _report_dataset(dataset)
    if dataset.test is not None:
        return estimator, dataset, dataset.test, [str(i) for i in range(len(dataset.test))]
    names = dataset.paths or [str(i) for i in range(len(dataset.train))]
    return estimator, dataset, dataset.train, list(names)


def _report_dataset(dataset: "Dataset") -> None:
    """What was read, what was changed and what was left out, on standard error."""
    height, width, channels = dataset.train.shape[1:]
    counts = f"{len(dataset.train):,} images"
    if dataset.test is not None:
        counts = f"{len(dataset.train):,} training and {len(dataset.test):,} test images"
    click.echo(f"{dataset.source}: {counts} of {height} x {width} x {channels}", err=True)
    if dataset.num_resized:
        click.echo(f"{dataset.num_resized:,} of another size were changed to this one", err=True)
    if dataset.skipped:
        click.echo(f"{len(dataset.skipped):,} could not be used and were skipped:", err=True)
        for path, reason in dataset.skipped[:5]:
            click.echo(f"  {path}: {reason}", err=True)
        if len(dataset.skipped) > 5:
            click.echo(f"  and {len(dataset.skipped) - 5:,} more", err=True)


def _finish(
    dataset: "Dataset", figures: dict[str, Any], files: dict[str, str], text: str, as_json: bool
) -> None:
    """Print what came out: one JSON object, or `text` and the files."""
    if as_json:
        report = {
            "source": dataset.source,
            "num_resized": dataset.num_resized,
            "skipped": [list(pair) for pair in dataset.skipped],
            **figures,
            "files": files,
        }
        click.echo(json.dumps(report))
        return
    click.echo(text)
    for path in files.values():
        click.echo(f"wrote {path}")


def _parse_numbers(
    text: str | None, option: str, separator: str, example: str
) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.lower().split(separator))
    except ValueError as error:
        raise ParameterError(
            f"{option} must be whole numbers; received {text!r}. Write it as in {option} {example}."
        ) from error


def entry_point() -> None:
    """What the installed script `convae` runs."""
    sys.exit(main())
