"""The one model file: an architecture, its weights, where they come from, and what jobs fitted.

It builds no network and loads no Keras; how the bytes are kept safe is `convae.storage.safefile`.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from reprlib import repr as quote  # bounded: a hostile section may have a million characters
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture
from convae.errors import ModelFileError, ParameterError
from convae.storage.safefile import file_identity, read_tensors, write_tensors
from convae.storage.tables import Table, check_tables

KIND = "model"

_SECTIONS = ("preprocessing", "data", "training", "versions")
_LONGEST_REASON = 400
_NETWORKS = ("encoder", "decoder")


@dataclass(frozen=True, eq=False, slots=True)
class FittedJob:
    """What one job, such as finding anomalies, fitted beside the network.

    Args:
        settings: JSON values under `str` keys.
        tables: Arrays by name, of the kinds that `convae.storage.safefile.write_tensors` takes.
    """

    settings: dict[str, Any]
    tables: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, slots=True)
class ModelContents:
    """All that a model file holds.

    Args:
        architecture: The shape of the network.
        weights: float32, every number finite, keyed and shaped as
            `architecture.weight_shapes()`; no moving variance is negative.
        preprocessing: `{"channel_axis": bool}`: whether the images came with a channel axis.
        data: What is known of the training images, as JSON values.
        training: A summary of the training, as JSON values.
        versions: Versions by library, both `str`.
        jobs: What each job fitted, by a name of lower-case letters and underscores.

    Raises:
        ParameterError: A weight or a section is missing, unknown or of the wrong kind.
    """

    architecture: Architecture
    weights: dict[str, NDArray[np.float32]]
    preprocessing: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    versions: dict[str, Any]
    jobs: dict[str, FittedJob] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_sections(self)
        check_tables(self.weights, _weight_tables(self.architecture), "The weights")
        _check_jobs({name: job.settings for name, job in self.jobs.items()})

    def with_jobs(self, jobs: Mapping[str, FittedJob]) -> Self:
        """The same with these jobs added; they replace earlier ones of the same name."""
        return replace(self, jobs={**self.jobs, **jobs})


@contextmanager
def reading_job(origin: str) -> Iterator[None]:
    """Inside the block, a broken rule of what a job fitted becomes a refusal of its file.

    Args:
        origin: What the message calls the file.

    Raises:
        ModelFileError: In place of a `ParameterError`.
    """
    try:
        yield
    except ParameterError as error:
        raise _unusable(origin, error) from error


def _unusable(origin: object, error: ParameterError) -> ModelFileError:
    reason = str(error)
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]}..."
    return ModelFileError(
        f"{origin} cannot be used: {reason} Get the file again from whoever made it."
    )


def write_model(path: str | os.PathLike[str], contents: ModelContents) -> None:
    """Write a model file; the same contents give the same bytes.

    Args:
        path: Output path; the file appears only when complete.
        contents: The model; it is checked once more, since arrays and dicts can change.

    Raises:
        ParameterError: A weight or a section does not fit.
        OutputError: The file cannot be written.
    """
    contents.__post_init__()
    sections = {name: getattr(contents, name) for name in _SECTIONS}
    document = {"kind": KIND, "architecture": contents.architecture.to_json(), **sections}
    tensors: dict[str, NDArray[Any]] = dict(contents.weights)
    if contents.jobs:
        document["jobs"] = {name: job.settings for name, job in contents.jobs.items()}
    for name, job in contents.jobs.items():
        tensors |= {f"{name}/{table}": array for table, array in job.tables.items()}
    write_tensors(path, tensors, document)


def read_model(path: str | os.PathLike[str]) -> ModelContents:
    """Read an untrusted model file.

    Args:
        path: A file that `write_model` wrote.

    Returns:
        The model; its weights are writable and in the order of the layers.

    Raises:
        ModelFileError: The file is missing, is not a model, breaks a rule or is newer than this
            program.
    """
    tensors, document = read_tensors(path)
    kind = document.pop("kind", None)
    if kind == "checkpoint":
        raise ModelFileError(
            f"{path} cannot be used: kind must be 'model'; received 'checkpoint', an unfinished "
            f"training. Resume that training and save its model."
        )
    if kind != KIND:
        raise ModelFileError(
            f"{path} cannot be used: kind must be 'model'; received {quote(kind)}. "
            f"Give the path of a model."
        )
    try:
        return _contents(tensors, document)
    except ParameterError as error:
        raise _unusable(path, error) from error


def model_identity(path: str | os.PathLike[str]) -> str:
    """The checksum that names a model file: 64 lower-case hexadecimal digits.

    Raises:
        ModelFileError: As `convae.storage.safefile.read_tensors`.
    """
    return file_identity(path)


def _contents(tensors: dict[str, NDArray[Any]], document: dict[str, Any]) -> ModelContents:
    settings = document.pop("jobs", {})
    _check_jobs(settings)
    names = {"architecture", *_SECTIONS}
    if set(document) != names:
        raise ParameterError(
            f"The sections must be {sorted(names)}; received {quote(sorted(document))}."
        )
    architecture = Architecture.from_json(document.pop("architecture"))
    jobs = {name: FittedJob(settings[name], {}) for name in settings}
    for path in list(tensors):
        name, _, table = path.partition("/")
        if name in jobs:
            jobs[name].tables[table] = tensors.pop(path)
    # Before anything is made: a small file may announce a giant network.
    check_tables(tensors, _weight_tables(architecture), "The weights")
    weights = {name: tensors[name] for name in architecture.weight_shapes()}
    return ModelContents(architecture, weights, jobs=jobs, **document)


def _weight_tables(architecture: Architecture) -> dict[str, Table]:
    return {
        name: Table(np.float32, shape, low=0 if name.endswith("/moving_variance") else -math.inf)
        for name, shape in architecture.weight_shapes().items()
    }


def _check_jobs(jobs: object) -> None:
    """Settings by job."""
    if not isinstance(jobs, dict):
        raise ParameterError(f"jobs must be a dict; received {quote(jobs)}.")
    for name, settings in jobs.items():
        if not re.fullmatch("[a-z_]+", name) or name in _NETWORKS:
            raise ParameterError(
                f"A job's name must be of lower-case letters and underscores, and none of "
                f"{', '.join(_NETWORKS)}; received {quote(name)}."
            )
        if not isinstance(settings, dict):
            raise ParameterError(f"Job {name} must be a dict; received {quote(settings)}.")


def _check_sections(contents: ModelContents) -> None:
    if not isinstance(contents.architecture, Architecture):
        raise ParameterError(
            f"architecture must be an Architecture; received {quote(contents.architecture)}."
        )
    for name in _SECTIONS:
        section = getattr(contents, name)
        if not isinstance(section, dict):
            raise ParameterError(f"{name} must be a dict; received {quote(section)}.")
    preprocessing = contents.preprocessing
    if set(preprocessing) != {"channel_axis"} or type(preprocessing["channel_axis"]) is not bool:
        raise ParameterError(
            f"preprocessing must be {{'channel_axis': True or False}}; received "
            f"{quote(preprocessing)}."
        )
    if not all(isinstance(version, str) for version in contents.versions.values()):
        raise ParameterError(
            f"versions must hold a str for each library; received {quote(contents.versions)}."
        )
