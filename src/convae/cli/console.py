"""What the verbs of the command line share: options, reading images, printing; it has no verb."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convae.errors import ParameterError
from convae.storage.files import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convae.autoencoder.estimator import ConvAutoencoder
    from convae.datasets import Dataset

Verb = TypeVar("Verb", bound=Callable[..., None])

INTERRUPTED = 130
SHOWN_SKIPPED = 5


class Interrupted(click.ClickException):
    """Ctrl-C was pressed, and there is more to say than that."""

    exit_code = INTERRUPTED

    def show(self, file: Any = None) -> None:  # noqa: ANN401, ARG002 # click's signature
        """Print the message, which is no error."""
        click.echo(self.message, err=True)


def examples(*lines: str) -> str:
    """The end of a verb's help: each line a command that works."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def json_option(verb: Verb) -> Verb:
    """The option --json."""
    text = "Print one JSON object instead of text."
    return click.option("--json", "as_json", is_flag=True, help=text)(verb)


def image_options(verb: Verb) -> Verb:
    """How pictures of any size and kind are brought to the model's, and where they are kept."""
    for option in (
        click.option(
            "--store",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Keep the images in this .npy file, decoded once, instead of in memory.",
        ),
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


def model_and_images(verb: Verb) -> Verb:
    """The arguments MODEL and IMAGES."""
    verb = click.argument("images")(verb)
    return click.argument("model", type=click.Path(path_type=Path))(verb)


def out_option(default: str) -> Callable[[Verb], Verb]:
    """Where the results go that a verb leaves each time it runs."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path(default),
        show_default=True,
        help="Folder for the results; earlier ones are replaced.",
    )


def refine_option(verb: Verb) -> Verb:
    """How many steps improve the latents that the encoder gives."""
    return click.option(
        "--refine",
        type=int,
        default=0,
        show_default=True,
        metavar="STEPS",
        help="Steps that improve each image's latents; they lower its error and cost time.",
    )(verb)


def parse_numbers(text: str, option: str, separator: str, example: str) -> tuple[int, ...]:
    """The whole numbers that an option lists.

    Raises:
        ParameterError: One of them is no whole number.
    """
    try:
        return tuple(int(part) for part in text.lower().split(separator))
    except ValueError as error:
        raise ParameterError(
            f"{option} must be whole numbers; received {text!r}. Write it as in {option} {example}."
        ) from error


def load(
    data: str,
    size: int | tuple[int, ...] | None,
    channels: int | None,
    fit: str,
    strict: bool,
    store: Path | None,
) -> "Dataset":
    """A data set, read with a bar on a terminal; what was read is told on standard error."""
    from convae.cli.progress import counted
    from convae.datasets import load_dataset

    with counted(f"reading {data}") as progress:
        dataset = load_dataset(
            data,
            size=size,  # type: ignore[arg-type] # checked there
            channels=channels,
            fit=fit,  # type: ignore[arg-type] # click.Choice let no other through
            strict=strict,
            progress=progress,
            store=store,
        )
    report_dataset(dataset)
    if store is not None:
        part = "images" if dataset.test is None else "training images"
        line = f"the {part} are kept in {printable(store)}, which can be used as data from now on"
        click.echo(line, err=True)
    return dataset


def load_for(
    model: Path, images: str, fit: str, strict: bool, store: Path | None
) -> "tuple[ConvAutoencoder, Dataset, NDArray[np.generic], list[str]]":
    """A model, a data set at its size, the images of its test part if it has one, their names."""
    from convae.autoencoder.estimator import ConvAutoencoder

    estimator = ConvAutoencoder.load(model)
    return estimator, *load_images(estimator, images, fit, strict, store)


def load_images(
    estimator: "ConvAutoencoder", images: str, fit: str, strict: bool, store: Path | None
) -> "tuple[Dataset, NDArray[np.generic], list[str]]":
    """A data set at a model's size, the images of its test part if it has one, their names."""
    height, width, channels = estimator.architecture_.image_shape
    dataset = load(images, (height, width), channels, fit, strict, store)
    given, paths = judged_part(dataset)
    return dataset, given, image_names(paths, len(given))


def judged_part(dataset: "Dataset") -> "tuple[NDArray[np.generic], Sequence[str] | None]":
    """The images of a data set's test part if it has one, and their paths if they came with any."""
    if dataset.test is not None:
        return dataset.test, dataset.test_paths
    return dataset.train, dataset.paths


def image_names(paths: Sequence[str] | None, num_images: int) -> list[str]:
    """A name for each image: its path, or its number where it came without."""
    return list(paths or map(str, range(num_images)))


def report_dataset(dataset: "Dataset") -> None:
    """What was read, what was changed and what was left out, on standard error."""
    height, width, channels = dataset.train.shape[1:]
    counts = f"{len(dataset.train):,} images"
    if dataset.test is not None:
        counts = f"{len(dataset.train):,} training and {len(dataset.test):,} test images"
    lines = [f"{dataset.source}: {counts} of {height} x {width} x {channels}"]
    if dataset.num_resized:
        lines.append(f"{dataset.num_resized:,} of another size were changed to this one")
    for line in lines:
        click.echo(printable(line), err=True)
    report_skipped(dataset.skipped)


def report_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """What could not be used, and why, on standard error."""
    if not skipped:
        return
    lines = [f"{len(skipped):,} could not be used and were skipped:"]
    lines += [f"  {name}: {reason}" for name, reason in skipped[:SHOWN_SKIPPED]]
    if len(skipped) > SHOWN_SKIPPED:
        lines.append(f"  and {len(skipped) - SHOWN_SKIPPED:,} more")
    for line in lines:
        click.echo(printable(line), err=True)


def echo_json(report: dict[str, Any]) -> None:
    """Print one JSON object; JSON has no infinity (the PSNR of equal images), so it is null."""
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.items()
    }
    click.echo(json.dumps(plain, allow_nan=False))


def finish(
    dataset: "Dataset", figures: dict[str, Any], files: dict[str, str], text: str, as_json: bool
) -> None:
    """Print what came out: one JSON object, or `text` and the files."""
    if not as_json:
        click.echo("\n".join([text, *(f"wrote {path}" for path in files.values())]))
        return
    echo_json(
        {
            "source": dataset.source,
            "num_resized": dataset.num_resized,
            "skipped": [list(pair) for pair in dataset.skipped],
            **figures,
            "files": files,
        }
    )
