"""The verb `train`: train a model of images and its jobs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convae import FLIPS, LOSS_NAMES, OPTIMIZER_NAMES, PRESETS, SCHEDULE_NAMES, job_kinds
from convae.cli.options import (
    AUTO,
    NumberOrAuto,
    Reading,
    Verb,
    examples,
    image_options,
    json_option,
    parse_numbers,
)
from convae.cli.reading import load
from convae.cli.training import train_and_tell
from convae.errors import ParameterError

if TYPE_CHECKING:
    from convae.jobs.job import Job
    from convae.jobs.kind import JobOption

DEFAULT_PRESET = "fast"


def _sort(option: "JobOption") -> dict[str, Any]:
    """What click is told of the values of an option; a flag has none."""
    if option.kind is bool:
        return {"is_flag": True, "default": None}
    return {"type": option.kind, "metavar": option.metavar}


def job_options(verb: Verb) -> Verb:
    """`--for`, a short form for each job, and the jobs' options."""
    decorate: list[Any] = []
    for kind in job_kinds().values():
        decorate.append(
            click.option(f"--{kind.name}", is_flag=True, help=f"Short for --for {kind.name}.")
        )
        decorate += [
            click.option(
                f"--{option.name.replace('_', '-')}",
                **_sort(option),
                help=f"With --for {kind.name}: {option.summary} Default: {option.default}.",
            )
            for option in kind.options
        ]
    jobs = " ".join(f"{kind.name}: {kind.summary}" for kind in job_kinds().values())
    decorate.append(
        click.option(
            "--for",
            "asked",
            type=click.Choice(list(job_kinds())),
            multiple=True,
            help=f"A job to fit beside reconstruction; repeat it for more jobs. {jobs}",
        )
    )
    found: Any = verb
    for decorator in decorate:
        found = decorator(found)
    fitted: Verb = found
    return fitted


@click.command(
    epilog=examples(
        "convae train mnist --preset reference --out mnist",
        "convae train pictures/ --validation-split 0.1 --patience 20 --out parts",
        "convae train pictures/ --validation-split 0.1 --patience 20 --out parts --resume",
        "convae train pictures/ --latent-dim auto --out parts",
        "convae train shards/ --store images.npy --out large",
        "convae train normal/ --for anomalies --for codec --out parts",
        "convae train pictures/ --model parts/model.safetensors --for codec --out packed",
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
    help="A named recipe; the options below change it.",
)
@click.option(
    "--filters",
    help="Filters of each stage, as in 32,64. Default: `fast` takes what fits the size.",
)
@click.option(
    "--latent-dim",
    type=NumberOrAuto(),
    help="Numbers per image; `auto` trains several times to find how many are worth it.",
)
@click.option(
    "--encoder-passes",
    type=int,
    help="How often the encoder looks at an image; at the second pass it corrects itself by its "
    "reconstruction.",
)
@click.option("--loss", type=click.Choice(LOSS_NAMES), help="What training minimizes.")
@click.option(
    "--epochs",
    type=int,
    help="Passes over the images. Default: the preset's; `fast` and `best` take enough for 1,000 "
    "steps, and at least --fewest-epochs; twice as many if images are distorted.",
)
@click.option(
    "--fewest-epochs",
    type=int,
    help="Fewest passes if --epochs is not given: `fast` 4, `best` 15.",
)
@click.option("--batch-size", type=int, help="Images per step.")
@click.option("--optimizer", type=click.Choice(OPTIMIZER_NAMES), help="Optimizer.")
@click.option("--learning-rate", type=float, help="Initial learning rate.")
@click.option(
    "--learning-rate-schedule",
    type=click.Choice(SCHEDULE_NAMES),
    help="Schedule of the learning rate.",
)
@click.option("--weight-decay", type=float, help="Share of a weight removed by a step of size 1.")
@click.option(
    "--translation",
    type=int,
    help="Shift each image at random by up to this many pixels. Default, as for the next four: "
    "what suits the images, if they are met more than 4 times.",
)
@click.option(
    "--warp", type=float, help="Strength, 0 to 4, of random turns, scalings, shears and waves."
)
@click.option("--flip", type=click.Choice(FLIPS), help="Flip half of the images at random.")
@click.option(
    "--brightness",
    type=float,
    help="Make images lighter or darker at random; standard deviation, 0 to 1.",
)
@click.option("--tint", type=float, help="The same for each color alone.")
@click.option("--validation-split", type=float, help="Fraction of the images to validate on.")
@click.option("--patience", type=int, help="Stop after this many epochs without improvement.")
@click.option(
    "--recompute-statistics/--no-recompute-statistics",
    default=None,
    help="Recompute batch normalization's statistics before judging; moving averages lag in short "
    "trainings.",
)
@click.option("--seed", type=int, help="The same seed, machine and backend give the same model.")
@click.option(
    "--size",
    help="Height and width to train at, as in 64x48 or 64. Default: the images' own size if all "
    "agree and no side exceeds 128, otherwise at most 64.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3", "4"]),
    help="Gray, RGB or RGBA. Default: as in the data.",
)
@image_options
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="Folder for a TensorBoard log."
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Keep the network of this model, and add the jobs that --for names.",
)
@job_options
@click.option("--resume", is_flag=True, help="Resume the interrupted training in --out.")
@click.option("--overwrite", is_flag=True, help="Replace a finished model in --out.")
@json_option
def train(
    data: str,
    out: Path,
    preset: str,
    size: str | None,
    channels: str | None,
    reading: Reading,
    tensorboard: Path | None,
    model: Path | None,
    asked: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **others: Any,  # noqa: ANN401 # parameters of ConvAutoencoder, and of jobs
) -> None:
    """Train on DATA: mnist, digits, a folder of pictures or of Parquet files, or a file.

    A file may be .npz, .npy, IDX, .parquet or a picture. A .npy file of more than 256 MiB is used
    in place and may be larger than memory; for other data there is --store.

    Leaves in --out: the model file, history.csv, the loss curve, and output_image.png with ten
    images on the left and their reconstructions on the right.

    In Python: `train_model`, `add_jobs` for --model, or `ConvAutoencoder.fit`.
    """
    from convae import (
        OUTPUT_IMAGE,
        ConvAutoencoder,
        check_folder,
        check_output,
        check_training_folder,
    )

    jobs = _jobs(asked, others)
    changes = {name: value for name, value in others.items() if value is not None}
    if "filters" in changes:
        changes["filters"] = parse_numbers(changes["filters"], "--filters", ",", "32,64")
    choose_latent_dim = changes.get("latent_dim") == AUTO
    if choose_latent_dim:
        del changes["latent_dim"]
    shape = None if size is None else parse_numbers(size, "--size", "x", "64x48")
    depth = None if channels is None else int(channels)
    if model is None:
        estimator = ConvAutoencoder.from_preset(preset, **changes)
        estimator.check()
    else:
        _check_alone(jobs, resume, {**others, "size": size, "channels": channels})
        estimator = ConvAutoencoder.load(model)
        height, width, depth = estimator.architecture_.image_shape
        shape = (height, width)
    check_folder(out, overwrite=overwrite, resume=resume)
    check_output(out / OUTPUT_IMAGE, [data])
    for_anomalies = any(job.kind.name == "anomalies" for job in jobs)
    check_training_folder(data, for_anomalies=for_anomalies)
    dataset = load(data, reading, shape[0] if shape and len(shape) == 1 else shape, depth)
    train_and_tell(
        dataset,
        estimator,
        jobs,
        out,
        is_trained=model is not None,
        choose_latent_dim=choose_latent_dim,
        resume=resume,
        overwrite=overwrite,
        again="the same command" if resume else "the same command and --resume",
        tensorboard=tensorboard,
        as_json=as_json,
        preset=preset if model is None else None,
    )


def _jobs(asked: tuple[str, ...], others: dict[str, Any]) -> "list[Job]":
    """The jobs to fit, in a fixed order; it takes their options out of `others`."""
    jobs, seed = [], others["seed"] or 0
    for kind in job_kinds().values():
        wanted = others.pop(kind.name) or kind.name in asked
        given = {option.name: others.pop(option.name) for option in kind.options}
        options = {name: value for name, value in given.items() if value is not None}
        if wanted:
            job = kind.estimator_class()(seed=seed, **options)
            job.check()
            jobs.append(job)
        for name, value in options.items():
            if not wanted:
                raise ParameterError(
                    f"--{name.replace('_', '-')} must go with --for {kind.name}; received {value} "
                    f"alone. Add --for {kind.name}, or leave it out."
                )
    return jobs


def _check_alone(jobs: "list[Job]", resume: bool, changes: dict[str, Any]) -> None:
    """Refuse options that mean nothing if no network is trained."""
    given = [name for name, value in changes.items() if value is not None]
    if resume:
        given.append("resume")
    if given or not jobs:
        received = "--" + given[0].replace("_", "-") if given else "none"
        raise ParameterError(
            f"--model must come with --for and without training options; received {received}. Name "
            f"a job, and drop the other options."
        )
