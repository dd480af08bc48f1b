"""The state of an unfinished training, in a file as safe as the model file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.history import EpochRecord, records_from_json
from convae.architecture.plan import Architecture
from convae.architecture.recipe import TrainingOptions
from convae.errors import ModelFileError, ParameterError
from convae.storage.safefile import read_tensors, write_tensors

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training needs to go on as if it had never stopped.

    Args:
        weights: The network's weights, named as `Architecture.weight_shapes` names them.
        optimizer: The optimizer's variables, in Keras's order.
        best_weights: The weights of the epoch with the least validation loss; None without one.
        records: One for each finished epoch.
        step: Steps done in the epoch under way.
        loss_sum: Sum of the training loss over the images of these steps.
    """

    weights: Weights
    optimizer: list[NDArray[Any]]
    best_weights: Weights | None
    records: list[EpochRecord]
    step: int
    loss_sum: float


def write_checkpoint(
    path: str | os.PathLike[str],
    architecture: Architecture,
    options: TrainingOptions,
    identity: dict[str, str],
    checkpoint: Checkpoint,
) -> None:
    """Write `checkpoint`; `identity` names what a resumed run must share (data, backend)."""
    tensors: dict[str, NDArray[Any]] = {
        **{f"weights/{name}": value for name, value in checkpoint.weights.items()},
        **{f"best/{name}": value for name, value in (checkpoint.best_weights or {}).items()},
        **{f"optimizer/{index:04}": value for index, value in enumerate(checkpoint.optimizer)},
    }
    document = {
        "kind": "checkpoint",
        "architecture": architecture.to_json(),
        "options": options.to_json(),
        "identity": identity,
        "records": [record.to_json() for record in checkpoint.records],
        "step": checkpoint.step,
        "loss_sum": checkpoint.loss_sum,
    }
    write_tensors(path, tensors, document)


def checkpoint_architecture(path: str | os.PathLike[str]) -> Architecture:
    """The shape of the network of an interrupted run.

    Raises:
        ModelFileError: There is no such file, or it is damaged.
    """
    _, document = _read(path)
    try:
        return Architecture.from_json(document.get("architecture"))
    except ParameterError as error:
        raise incomplete(path) from error


def read_checkpoint(
    path: str | os.PathLike[str],
    architecture: Architecture,
    options: TrainingOptions,
    identity: dict[str, str],
) -> Checkpoint:
    """Read the checkpoint of a run with this architecture, recipe and identity.

    Only `epochs` may differ, and only under a constant learning rate, where it changes nothing of
    what was done.

    Raises:
        ModelFileError: There is no such file, it is damaged, or it is of another run.
    """
    tensors, document = _read(path)
    _check_same_run(path, document, architecture, options, identity)

    def part(prefix: str) -> dict[str, NDArray[Any]]:
        return {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }

    weights, best = part("weights/"), part("best/")
    optimizer = part("optimizer/")
    step, loss_sum = document.get("step"), document.get("loss_sum")
    try:
        records = records_from_json(document.get("records"))
    except ParameterError as error:
        raise incomplete(path) from error
    shapes = architecture.weight_shapes()
    if not (
        {name: value.shape for name, value in weights.items()} == shapes
        and ({name: value.shape for name, value in best.items()} == shapes or not best)
        and type(step) is int
        and step >= 0
        and type(loss_sum) in (int, float)
    ):
        raise incomplete(path)
    return Checkpoint(
        weights=weights,
        optimizer=[optimizer[name] for name in sorted(optimizer)],
        best_weights=best or None,
        records=records,
        step=step,
        loss_sum=loss_sum,  # type: ignore[arg-type] # checked above
    )


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The tensors and the document of a checkpoint."""
    if not Path(path).exists():
        raise ModelFileError(
            f"Resuming needs a checkpoint, and there is none at {path}. "
            f"Train without resuming first, or name the folder of the interrupted run."
        )
    tensors, document = read_tensors(path)
    if document.get("kind") != "checkpoint":
        raise ModelFileError(
            f"Resuming needs a checkpoint; received a file of kind {document.get('kind')!r} at "
            f"{path}. Name the folder of the interrupted run."
        )
    return tensors, document


def _check_same_run(
    path: str | os.PathLike[str],
    document: dict[str, Any],
    architecture: Architecture,
    options: TrainingOptions,
    identity: dict[str, str],
) -> None:
    expected: dict[str, dict[str, Any]] = {
        "architecture": architecture.to_json(),
        "options": options.to_json(),
        "identity": identity,
    }
    for section, values in expected.items():
        found = document.get(section)
        found = found if isinstance(found, dict) else {}
        for key, value in values.items():
            if found.get(key) == value:
                continue
            if key == "epochs" and options.learning_rate_schedule == "constant":
                continue
            difference = f"has {section} {key}={found.get(key)!r}, received {value!r}"
            if key == "fingerprint":
                difference = "was trained on other images than those received"
            raise ModelFileError(
                f"A resumed run must match the interrupted one; {path} {difference}. Repeat the "
                f"first command's options and data, or start anew without resuming."
            )


def incomplete(path: str | os.PathLike[str]) -> ModelFileError:
    """The refusal of a checkpoint that does not hold what a training needs."""
    return ModelFileError(
        f"A checkpoint must hold the whole state of a training; {path} does not. "
        f"Start anew without resuming."
    )
