"""The result of a run, for a program and for a person."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Args:
        figures: JSON values.
        lines: The same in sentences.
        files: The path of each file that was written, by what it is.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
