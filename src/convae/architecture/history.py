"""The record of an epoch, and records from an untrusted file."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from convae.architecture.recipe import MOST_EPOCHS
from convae.errors import ParameterError


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """The result of one epoch.

    Args:
        epoch: Its number, from 1.
        loss: Mean training loss over the images of the epoch, as they were met.
        val_loss: Mean loss over the validation images after the epoch; None without any.
        learning_rate: Step size at the end of the epoch.
        elapsed_s: Seconds the epoch took; the only field that differs between equal runs, so a
            model file leaves it out, and it is None after loading.
    """

    epoch: int
    loss: float
    val_loss: float | None
    learning_rate: float
    elapsed_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return dataclasses.asdict(self)


_OPTIONAL = ("val_loss", "elapsed_s")


def records_from_json(document: object) -> list[EpochRecord]:
    """The inverse of `EpochRecord.to_json` for a list of records; `elapsed_s` may be absent.

    Raises:
        ParameterError: These are not records of the epochs 1, 2, 3 and so on.
    """
    if isinstance(document, list) and len(document) <= MOST_EPOCHS:
        records = [_record(number, entry) for number, entry in enumerate(document, start=1)]
        found = [record for record in records if record is not None]
        if len(found) == len(document):
            return found
    raise ParameterError(
        f"A history must be a list of one record for each epoch, at most {MOST_EPOCHS:,}, each "
        f"with a finite epoch, loss, val_loss and learning_rate; received something else. Save the "
        f"model again."
    )


def _record(number: int, entry: object) -> EpochRecord | None:
    names = {field.name for field in dataclasses.fields(EpochRecord)}
    if not isinstance(entry, dict) or not names - {"elapsed_s"} <= set(entry) <= names:
        return None
    if type(entry["epoch"]) is not int or entry["epoch"] != number:
        return None
    for name, value in entry.items():
        if value is None and name in _OPTIONAL:
            continue
        if type(value) not in (int, float) or not math.isfinite(value):
            return None
    return EpochRecord(**entry)
