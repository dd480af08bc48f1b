"""The arguments and options that verbs share."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from convae.errors import ParameterError

AUTO = "auto"
Verb = TypeVar("Verb", bound=Callable[..., None])


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Args:
        fit: How a picture of another size is fitted.
        strict: Stop at the first picture that cannot be read.
        store: The file that keeps the images, instead of memory.
        replace: Whether that file may replace another.
    """

    fit: Literal["pad", "crop", "stretch"]
    strict: bool
    store: Path | None
    replace: bool


class NumberOrAuto(click.ParamType):  # type: ignore[type-arg] # no class takes any, at run time
    """A whole number, or the word `auto`."""

    name = "NUMBER|auto"

    def convert(self, value: Any, param: Any, context: Any) -> Any:  # noqa: ANN401 # click's
        """What the text says; click calls it."""
        return AUTO if value == AUTO else click.INT.convert(value, param, context)


def examples(*lines: str) -> str:
    """The end of a verb's help: commands that work, one per line."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def json_option(verb: Verb) -> Verb:
    """The option --json."""
    text = "Print one JSON object instead of text."
    return click.option("--json", "as_json", is_flag=True, help=text)(verb)


def image_options(verb: Verb) -> Verb:
    """The options of how images are read, as one value `reading`."""

    @functools.wraps(verb)
    def gathered(*args: Any, fit: Any, strict: bool, store: Path | None, **others: Any) -> None:  # noqa: ANN401 # click's
        replace = others["overwrite"] or others.get("resume", False)
        verb(*args, reading=Reading(fit, strict, store, replace), **others)

    chosen: Any = gathered
    for option in (
        click.option(
            "--store",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Keep the images in this .npy file, decoded once, instead of in memory. "
            "--overwrite replaces one that is there.",
        ),
        strict_option,
        click.option(
            "--fit",
            type=click.Choice(["pad", "crop", "stretch"]),
            default="pad",
            show_default=True,
            help="How images of another size are fitted.",
        ),
    ):
        chosen = option(chosen)
    found: Verb = chosen
    return found


def model_and_images(verb: Verb) -> Verb:
    """The arguments MODEL and IMAGES."""
    verb = click.argument("images")(verb)
    return click.argument("model", type=click.Path(path_type=Path))(verb)


def out_option(default: str) -> Callable[[Verb], Verb]:
    """The option --out of a verb that leaves several files."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path(default),
        show_default=True,
        help="Folder for the results.",
    )


def strict_option(verb: Verb) -> Verb:
    """The option --strict."""
    return click.option(
        "--strict",
        is_flag=True,
        help="Stop at the first picture or folder that cannot be read, and at the first picture "
        "with more than one frame or page.",
    )(verb)


def overwrite_option(verb: Verb) -> Verb:
    """The option --overwrite."""
    return click.option("--overwrite", is_flag=True, help="Replace existing files.")(verb)


def refine_option(verb: Verb) -> Verb:
    """The option --refine."""
    return click.option(
        "--refine",
        type=int,
        default=0,
        show_default=True,
        metavar="STEPS",
        help="Steps that refine each image's latents; smaller error, more time.",
    )(verb)


def parse_numbers(text: str, option: str, separator: str, example: str) -> tuple[int, ...]:
    """The whole numbers that an option lists.

    Raises:
        ParameterError: One of them is not a whole number.
    """
    try:
        return tuple(int(part) for part in text.lower().split(separator))
    except ValueError as error:
        raise ParameterError(
            f"{option} must be whole numbers; received {text!r}. Write it as in {option} {example}."
        ) from error
