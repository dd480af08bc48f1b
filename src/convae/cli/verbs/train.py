"""The verbs `demo` and `train`: a model, and how good it is; training itself is elsewhere."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convae.architecture.plan import SMALLEST_SIDE, Architecture
from convae.architecture.recipe import (
    LOSS_NAMES,
    OPTIMIZER_NAMES,
    PRESETS,
    SCHEDULE_NAMES,
    TrainingOptions,
)
from convae.cli.console import (
    Interrupted,
    examples,
    finish,
    image_names,
    image_options,
    json_option,
    load,
    parse_numbers,
    report_dataset,
)
from convae.errors import DataUnavailableError, OutputError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convae.autoencoder.estimator import ConvAutoencoder
    from convae.baselines.pca import Images
    from convae.datasets import Dataset
    from convae.jobs.anomaly import AnomalyDetector
    from convae.jobs.codec.codec import ImageCodec

DEFAULT_PRESET = "fast"
DEMO_EPOCHS = 2


@click.command(epilog=examples("convae demo", "convae demo --epochs 5 --out demo"))
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


@click.command(
    epilog=examples(
        "convae train mnist --preset reference --out mnist",
        "convae train pictures/ --validation-split 0.1 --patience 20 --out parts",
        "convae train pictures/ --validation-split 0.1 --patience 20 --out parts --resume",
        "convae train shards/ --store images.npy --out large",
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
@click.option("--loss", type=click.Choice(LOSS_NAMES), help="What training minimizes.")
@click.option(
    "--epochs",
    type=int,
    help="Passes over the images. Default: the preset's; of `fast` and `best` as many as make "
    "1,000 steps, and at least --fewest-epochs.",
)
@click.option(
    "--fewest-epochs", type=int, help="Where the passes are left open: of `fast` 4, of `best` 15."
)
@click.option("--batch-size", type=int, help="Images a step.")
@click.option("--optimizer", type=click.Choice(OPTIMIZER_NAMES), help="How a step is made.")
@click.option("--learning-rate", type=float, help="First step size.")
@click.option("--learning-rate-schedule", type=click.Choice(SCHEDULE_NAMES), help="How it falls.")
@click.option("--weight-decay", type=float, help="Share of a weight that a step of 1 takes away.")
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
    help="Gray, RGB or RGBA. Default: what is there.",
)
@image_options
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="Folder for a TensorBoard log."
)
@click.option(
    "--anomalies",
    is_flag=True,
    help="The images are normal ones: hold a fifth out, and make the model one for `detect`.",
)
@click.option(
    "--most-anomalies",
    type=float,
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="With --anomalies: share of the images that may be anomalies themselves, at most 0.25.",
)
@click.option(
    "--codec",
    is_flag=True,
    help="Learn to code such images too, for `compress`; 10,000 more steps at most a channel.",
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
    store: Path | None,
    tensorboard: Path | None,
    anomalies: bool,
    most_anomalies: float,
    codec: bool,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **recipe: Any,  # noqa: ANN401 # one option for each parameter of ConvAutoencoder
) -> None:
    """Train on DATA: mnist, digits, a folder of pictures or of Parquet files, or a file.

    A file may be .npz, .npy, IDX, .parquet or a picture. A .npy file of more than 256 MiB is used
    in place and may be larger than memory; for other data there is --store.

    With --most-anomalies, suspects.csv names the images that are least like the others.

    Leaves in --out: the model file, history.csv, the loss curve, and output_image.png with ten
    images on the left and their reconstructions on the right.
    """
    from convae.jobs.anomaly.calibration import check_most_anomalies
    from convae.report.runs import check_folder

    if check_most_anomalies(most_anomalies) and not anomalies:
        raise ParameterError(
            f"--most-anomalies must go with --anomalies; received {most_anomalies} alone. Add "
            f"--anomalies, or leave it out."
        )
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
        store,
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
        most_anomalies=most_anomalies if anomalies else None,
        learn_codec_from=data if codec else None,
    )


def _check_recipe(recipe: dict[str, Any]) -> None:
    """Refuse a bad option before anything is read."""
    recipe = dict(recipe)
    shape = {name: recipe.pop(name) for name in ("filters", "latent_dim") if name in recipe}
    Architecture(SMALLEST_SIDE, SMALLEST_SIDE, 1, **shape)
    TrainingOptions.for_images(1, **recipe)


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
    most_anomalies: float | None = None,
    learn_codec_from: str | None = None,
) -> None:
    from convae.autoencoder.estimator import ConvAutoencoder
    from convae.baselines.pca import model_mse, pca_mse
    from convae.cli.progress import TrainingProgress
    from convae.images.metrics import psnr_db
    from convae.report.figures import COMPARED
    from convae.report.runs import CHECKPOINT, prepare_folder, write_run, write_suspects
    from convae.storage.modelfile import write_model

    observers: list[Any] = []
    if tensorboard is not None:
        from convae.autoencoder.tensorboard import TensorBoardLog

        observers.append(TensorBoardLog(tensorboard))
    # Last: nothing that can fail starts after a bar.
    observers.append(TrainingProgress())
    model = ConvAutoencoder.from_preset(preset, **changes)
    checkpoint = prepare_folder(out) / CHECKPOINT
    before = None if resume else _stamp(checkpoint)
    try:
        kept: dict[str, Any] = {
            "checkpoint_path": checkpoint,
            "resume": resume,
            "observers": observers,
        }
        detector = None
        if most_anomalies is None:
            model.fit(dataset.train, **kept)
            held_out, contents = model.validation_indices_, model.to_contents()
        else:
            detector = _fit_detector(model, most_anomalies, dataset, kept)
            model, contents = detector.autoencoder_, detector.to_contents()
            held_out = detector.calibration_indices_
        split, seen, judged = _parts(dataset, held_out)
        codec = None
        if learn_codec_from is not None:
            codec = _fit_codec(model, dataset, Path(learn_codec_from))
            contents = contents.with_jobs(codec.jobs())
        files = write_run(out, model, judged[:COMPARED], lambda path: write_model(path, contents))
    except (KeyboardInterrupt, OutputError) as error:
        if _stamp(checkpoint) in (None, before):
            raise
        where = f"the training so far is kept in {checkpoint}. Go on with {again}."
        if isinstance(error, OutputError):
            raise OutputError(f"{error} Meanwhile {where}") from error
        raise Interrupted(f"Interrupted; {where}") from error
    mse = model_mse(model, judged)
    latent_dim = model.architecture_.latent_dim
    cheap = pca_mse(seen, judged, latent_dim)
    figures: dict[str, Any] = {
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
    if detector is not None:
        figures |= _describe(detector)
        if len(detector.suspects_):
            names = image_names(dataset.paths, len(dataset.train))
            files["suspects"] = write_suspects(out, names, detector.suspects_)
        text += f"\nfor `convae detect`, the score {detector.choice_.score!r}: "
        text += "\n".join([detector.choice_.reason, *detector.choice_.warnings()])
    if codec is not None:
        figures["codec"] = {
            "bits": codec.contexts_.bits,
            "channels": codec.contexts_.channels,
            "by_distance": codec.contexts_.by_distance,
            "trials": [list(costs) for costs in codec.trials_],
        }
        text += f"\nfor `convae compress`: {_told(codec)}"
    finish(dataset, figures, files, text, as_json)


def _fit_detector(
    model: "ConvAutoencoder", most_anomalies: float, dataset: "Dataset", options: dict[str, Any]
) -> "AnomalyDetector":
    from convae.jobs.anomaly import AnomalyDetector

    detector = AnomalyDetector(model, most_anomalies=most_anomalies, seed=model.seed)
    return detector.fit(dataset.train, **options)


def _fit_codec(model: "ConvAutoencoder", dataset: "Dataset", data: Path) -> "ImageCodec":
    """A codec that learned from the same images; of pictures, as they are in their folder."""
    from convae.cli.progress import counted
    from convae.images import exact_batches
    from convae.jobs.codec.codec import ImageCodec

    pictures = None
    if dataset.paths and (data / dataset.paths[0]).is_file():
        pictures = exact_batches(data, [], names=dataset.paths)
    with counted("learning to code") as progress:
        return ImageCodec(model, seed=model.seed or 0).fit(
            dataset.train, pictures=pictures, progress=progress
        )


def _told(codec: "ImageCodec") -> str:
    """How the channels of images are coded, and why."""
    contexts = codec.contexts_
    kind = f"{contexts.channels} channels" if contexts.channels > 1 else "1 channel"
    told = [f"images of {kind} with {contexts.bits} bits"]
    for plane, (by_value, by_distance) in enumerate(codec.trials_):
        what = f"channel {plane}"
        if contexts.bits == 16:
            what = f"{'low' if plane % 2 else 'high'} bytes of channel {plane // 2}"
        how = "by distance" if plane in contexts.by_distance else "by value"
        told.append(
            f"{what} {how} ({by_value:.2f} bits a byte by value and {by_distance:.2f} "
            f"by distance on images held out, in a short training)"
        )
    return "\n  ".join(told)


def _describe(detector: "AnomalyDetector") -> dict[str, Any]:
    """What a user should know of a detector."""
    calibration = detector.calibration_
    return {
        "score": detector.choice_.score,
        "reason": detector.choice_.reason,
        "made_up_auroc": detector.choice_.aurocs,
        "cheap_made_up_auroc": detector.choice_.cheap_aurocs,
        "num_calibration_images": len(calibration.scores),
        "smallest_false_alarm_rate": calibration.smallest_rate,
        "warnings": detector.choice_.warnings(),
    }


def _parts(dataset: "Dataset", held_out: "NDArray[np.intp]") -> "tuple[str, Images, Images]":
    """What a model is judged on, the images trained on, and the images to judge on."""
    import numpy as np

    from convae.baselines.pca import Selection

    train = dataset.train
    if dataset.test is not None:
        return "test", train, dataset.test
    if not len(held_out):
        return "training", train, train
    seen = np.delete(np.arange(len(train)), held_out)
    return "validation", Selection(train, seen), Selection(train, held_out)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells whether a file was written anew; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
