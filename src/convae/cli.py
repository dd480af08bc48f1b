"""The command line: each verb parses, calls the public classes and prints; it computes nothing.

Results go to standard output, progress and errors to standard error. Exit codes: 0 fine, 1 the user
can fix it, 2 wrong usage, 130 interrupted.
"""

import _thread
import io
import json
import os
import shlex
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import convae
from convae.console import (
    INTERRUPTED,
    Interrupted,
    echo_json,
    examples,
    finish,
    image_options,
    json_option,
    load,
    load_for,
    parse_numbers,
    report_dataset,
)
from convae.errors import ConvaeError, DataUnavailableError, OutputError
from convae.nn.config import (
    LOSS_NAMES,
    OPTIMIZER_NAMES,
    PRESETS,
    SCHEDULE_NAMES,
    SMALLEST_SIDE,
    Architecture,
    TrainingOptions,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convae.datasets import Dataset

DEFAULT_PRESET = "fast"
DEMO_EPOCHS = 2


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
    except OSError as error:
        # Standard output above all, which click writes its help to.
        click.echo(
            f"Error: Files and standard output must be usable; the system gave '{error}'. "
            f"Make room or choose another place.",
            err=True,
        )
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96})
@click.version_option(convae.__version__, prog_name="convae")
def commands() -> None:
    """One small convolutional autoencoder, trained from a plain set of images, in one safe file."""


@commands.command(epilog=examples("convae demo", "convae demo --epochs 5 --out demo"))
@click.option(
    "--epochs", type=int, help="Default: 2 on MNIST; on the embedded digits, those of `train`."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder for the results; earlier ones are replaced. Default: the current folder.",
)
@json_option
def demo(epochs: int | None, out: Path, as_json: bool) -> None:
    """Train on MNIST and picture the result.

    Where MNIST is not at hand and cannot be downloaded, the 1,797 handwritten digits that ship with
    scikit-learn take its place.
    """
    from convae.datasets import load_dataset

    changes = {} if epochs is None else {"epochs": epochs}
    _check_recipe(changes)
    try:
        dataset = load_dataset("mnist")
        changes = {"epochs": DEMO_EPOCHS, **changes}
    except DataUnavailableError:
        click.echo(
            "MNIST is not on this machine and cannot be downloaded now: training on the 1,797 "
            "handwritten digits embedded in scikit-learn instead.",
            err=True,
        )
        dataset = load_dataset("digits")
    report_dataset(dataset)
    options = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    again = shlex.join(("convae", "train", dataset.name, *options, "--out", str(out), "--resume"))
    _train(dataset, DEFAULT_PRESET, changes, out, again=again, as_json=as_json)


@commands.command(
    epilog=examples(
        "convae train mnist --preset reference --out mnist",
        "convae train pictures/ --validation-split 0.1 --patience 20 --out parts",
        "convae train pictures/ --validation-split 0.1 --patience 20 --out parts --resume",
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
    default=DEFAULT_PRESET,
    show_default=True,
    help="A recipe by name; the options below change it.",
)
@click.option("--filters", help="Filters of each stage, as in 32,64.")
@click.option("--latent-dim", type=int, help="Numbers an image is described by.")
@click.option("--loss", type=click.Choice(LOSS_NAMES), help="What training minimises.")
@click.option(
    "--epochs",
    type=int,
    help="Passes over the images. Default: the preset's; of `fast` 5, or as many as make 1,000 "
    "steps.",
)
@click.option("--batch-size", type=int, help="Images a step.")
@click.option("--optimizer", type=click.Choice(OPTIMIZER_NAMES), help="How a step is made.")
@click.option("--learning-rate", type=float, help="First step size.")
@click.option("--learning-rate-schedule", type=click.Choice(SCHEDULE_NAMES), help="How it falls.")
@click.option(
    "--translation", type=int, help="Move each image at random, by at most so many pixels."
)
@click.option("--validation-split", type=float, help="Fraction of the images to validate on.")
@click.option("--patience", type=int, help="Stop after so many epochs that do not improve.")
@click.option(
    "--recompute-statistics/--no-recompute-statistics",
    default=None,
    help="Batch normalization's, before judging; moving averages lag behind in short trainings.",
)
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
@image_options
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="Folder for a TensorBoard log."
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --out.")
@click.option("--overwrite", is_flag=True, help="Replace a finished model in --out.")
@json_option
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
    from convae.runs import check_folder

    changes = {name: value for name, value in recipe.items() if value is not None}
    if "filters" in changes:
        changes["filters"] = parse_numbers(changes["filters"], "--filters", ",", "32,64")
    shape = None if size is None else parse_numbers(size, "--size", "x", "64x48")
    _check_recipe({**PRESETS[preset], **changes})
    check_folder(out, overwrite=overwrite, resume=resume)
    dataset = load(
        data,
        shape[0] if shape is not None and len(shape) == 1 else shape,
        None if channels is None else int(channels),
        fit,
        strict,
    )
    _train(
        dataset,
        preset,
        changes,
        out,
        resume=resume,
        again="the same command" if resume else "the same command and --resume",
        as_json=as_json,
        tensorboard=tensorboard,
    )


def _check_recipe(recipe: dict[str, Any]) -> None:
    """Refuse a bad option before anything is read."""
    recipe = dict(recipe)
    shape = {name: recipe.pop(name) for name in ("filters", "latent_dim") if name in recipe}
    Architecture(SMALLEST_SIDE, SMALLEST_SIDE, 1, **shape)
    if recipe.get("epochs") is None:
        recipe["epochs"] = 1
    TrainingOptions(**recipe)


def _train(
    dataset: "Dataset",
    preset: str,
    changes: dict[str, Any],
    out: Path,
    *,
    again: str,
    as_json: bool,
    resume: bool = False,
    tensorboard: Path | None = None,
) -> None:
    from convae.baseline import pca_mse
    from convae.estimator import ConvAutoencoder
    from convae.metrics import psnr_db
    from convae.progress import TrainingProgress
    from convae.runs import CHECKPOINT, prepare_folder, write_run

    observers: list[Any] = []
    if tensorboard is not None:
        from convae.tensorboard import TensorBoardLog

        observers.append(TensorBoardLog(tensorboard))
    # Last: nothing that can fail starts after a bar.
    observers.append(TrainingProgress())
    model = ConvAutoencoder.from_preset(preset, **changes)
    checkpoint = prepare_folder(out) / CHECKPOINT
    before = None if resume else _stamp(checkpoint)
    try:
        model.fit(dataset.train, checkpoint_path=checkpoint, resume=resume, observers=observers)
        split, seen, judged = _parts(dataset, model.validation_indices_)
        files = write_run(out, model, judged)
    except (KeyboardInterrupt, OutputError) as error:
        if _stamp(checkpoint) in (None, before):
            raise
        kept = f"the training so far is kept in {checkpoint}. Go on with {again}."
        if isinstance(error, OutputError):
            raise OutputError(f"{error} Meanwhile {kept}") from error
        raise Interrupted(f"Interrupted; {kept}") from error
    mse = -model.score(judged)
    latent_dim = model.architecture_.latent_dim
    cheap = pca_mse(seen, judged, latent_dim)
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
    finish(dataset, figures, files, text, as_json)


def _parts(
    dataset: "Dataset", held_out: "NDArray[np.intp]"
) -> "tuple[str, NDArray[np.generic], NDArray[np.generic]]":
    """What a model is judged on, the images trained on, and the images to judge on."""
    if dataset.test is not None:
        return "test", dataset.train, dataset.test
    if not len(held_out):
        return "training", dataset.train, dataset.train
    import numpy as np

    return "validation", np.delete(dataset.train, held_out, axis=0), dataset.train[held_out]


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells whether a file was written anew; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


@commands.command(
    epilog=examples(
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
@image_options
@json_option
def reconstruct(
    model: Path, images: str, out: Path, count: int, fit: str, strict: bool, as_json: bool
) -> None:
    """Reconstruct IMAGES with MODEL, and show how well.

    Where IMAGES has a test part, as mnist has, that is what is reconstructed.

    Leaves in --out: output_image.png (ten originals and reconstructions), gallery.png (with the
    differences and errors) and errors.csv (one row an image: name, MSE, PSNR, SSIM).
    """
    from convae.runs import prepare_folder, write_reconstructions

    estimator, dataset, originals, names = load_for(model, images, fit, strict)
    prepare_folder(out)
    figures, files = write_reconstructions(out, estimator, originals, names, count)
    text = (
        f"{len(originals):,} images: MSE {figures['mse']:.5f}, PSNR {figures['psnr_db']:.1f} dB, "
        f"SSIM {figures['ssim']:.4f}"
    )
    finish(dataset, {"num_images": len(originals), **figures}, files, text, as_json)


@commands.command(
    epilog=examples(
        "convae embed mnist/model.safetensors mnist latents.npy",
        "convae embed parts/model.safetensors pictures/ latents.csv",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images")
@click.argument("output", type=click.Path(path_type=Path))
@image_options
@json_option
def embed(model: Path, images: str, output: Path, fit: str, strict: bool, as_json: bool) -> None:
    """Write the latents of IMAGES to OUTPUT.

    OUTPUT ends in .npy (float32, one row an image) or in .csv (with a name for each image). Where
    IMAGES has a test part, as mnist has, that is what is embedded.
    """
    from convae.runs import check_latents_path, prepare_folder, write_latents

    check_latents_path(output)
    estimator, dataset, originals, names = load_for(model, images, fit, strict)
    prepare_folder(output.parent)
    latents = estimator.transform(originals)
    write_latents(output, latents, names)
    num_images, latent_dim = latents.shape
    finish(
        dataset,
        {"num_images": num_images, "latent_dim": latent_dim},
        {"latents": str(output)},
        f"{num_images:,} images, {latent_dim} numbers each",
        as_json,
    )


@commands.command(epilog=examples("convae info", "convae info mnist/model.safetensors"))
@click.argument("model", type=click.Path(path_type=Path), required=False)
@json_option
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
        echo_json({**report, "layers": [dataclasses.asdict(row) for row in rows]})
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
    # As JSON, for a stranger may have written anything there, control characters included.
    history = report["training"].get("history")
    last = history[-1] if isinstance(history, list) and history else None
    parts = {
        "trained on": report["data"],
        "last epoch": last,
        "options": report["training"].get("options"),
        "versions": report["versions"],
    }
    for name, part in parts.items():
        click.echo(f"{name} {json.dumps(part)}")
    click.echo(f"sha256 {report['sha256']}")


def entry_point() -> None:
    """What the installed script `convae` runs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name need not be text.
            stream.reconfigure(errors="backslashreplace")
    sys.unraisablehook = _keep_interruption
    code = main()
    if code == INTERRUPTED:
        # Threads of JAX that were compiling may crash the shutdown of the interpreter.
        os._exit(code)
    sys.exit(code)


def _keep_interruption(unraisable: "sys.UnraisableHookArgs") -> None:
    """Bring back a Ctrl-C that came while Python was in a callback, which loses exceptions."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.1, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)
