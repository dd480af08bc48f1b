"""The output that verbs share: text, JSON, and what goes to standard error."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from convae.storage.files import printable

if TYPE_CHECKING:
    from convae import Dataset
    from convae.report.result import Result

INTERRUPTED = 130
SHOWN_SKIPPED = 5


def say(*lines: str, err: bool = False) -> None:
    """The one way out to the terminal: control characters in what files say become `?`.

    Args:
        *lines: The lines; a line break in one is such a character.
        err: Whether to standard error instead of standard output.
    """
    for line in lines:
        click.echo(printable(line), err=err)


class Interrupted(click.ClickException):
    """Ctrl-C was pressed, and there is more to say than that."""

    exit_code = INTERRUPTED

    def show(self, file: Any = None) -> None:  # noqa: ANN401, ARG002 # click's signature
        """Print the message, which is no error."""
        say(self.message, err=True)


def report_dataset(dataset: "Dataset") -> None:
    """What was read, what was changed and what was left out, on standard error."""
    height, width, channels = dataset.train.shape[1:]
    counts = f"{len(dataset.train):,} images"
    if dataset.test is not None:
        counts = f"{len(dataset.train):,} training and {len(dataset.test):,} test images"
    lines = [f"{dataset.source}: {counts} of {height} x {width} x {channels}"]
    if dataset.num_resized:
        lines.append(f"{dataset.num_resized:,} of another size were changed to this one")
    say(*lines, err=True)
    report_skipped(dataset.skipped)
    report_notes(dataset.notes)


def report_notes(notes: Sequence[str]) -> None:
    """What was left out without an error, on standard error."""
    say(*notes, err=True)


def report_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """What could not be used, and why, on standard error."""
    if not skipped:
        return
    alike: dict[str, list[str]] = {}
    for name, reason in skipped:
        # The same reason but for the name in it.
        alike.setdefault(reason.replace(printable(name), ""), []).append(f"{name}: {reason}")
    lines = [f"{len(skipped):,} could not be used and were skipped:"]
    shown = list(alike.values())[:SHOWN_SKIPPED]
    for first, *others in shown:
        same = f" (and {len(others):,} more for this reason)" if others else ""
        lines.append(f"  {first}{same}")
    if num_left := len(skipped) - sum(map(len, shown)):
        lines.append(f"  and {num_left:,} more")
    say(*lines, err=True)


def echo_json(report: dict[str, Any]) -> None:
    """Print one JSON object; JSON has no infinity (the PSNR of equal images), so it is null."""
    click.echo(json.dumps(_finite(report), allow_nan=False))


def _finite(value: Any) -> Any:  # noqa: ANN401 # JSON
    """A JSON value without infinities and NaN, at any depth."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def finish(dataset: "Dataset", result: "Result", as_json: bool) -> None:
    """Print what came out: one JSON object, or its lines and the files."""
    if not as_json:
        say(*result.lines, *(f"wrote {path}" for path in result.files.values()))
        return
    echo_json(
        {
            "source": dataset.source,
            "num_resized": dataset.num_resized,
            "skipped": [list(pair) for pair in dataset.skipped],
            "notes": list(dataset.notes),
            **result.figures,
            "files": result.files,
        }
    )
