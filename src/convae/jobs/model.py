"""A model and its jobs, as one file keeps them; using them needs no estimator."""

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convae.architecture.network import Network
from convae.architecture.plan import Architecture
from convae.autoencoder.applied import TrainedAutoencoder
from convae.errors import ModelFileError
from convae.jobs.kind import JobKind, job_kinds
from convae.nn.network import KerasNetwork
from convae.storage.modelfile import FittedJob, ModelContents, read_model, write_model

MakeNetwork: TypeAlias = Callable[[Architecture, dict[str, NDArray[np.float32]]], Network]


class TrainedModel:
    """A trained autoencoder, and what jobs fitted beside it.

    Args:
        contents: What the model file keeps.
        origin: What a message calls the model.
        make_network: Makes the network of an architecture and its weights.

    Example:
        >>> from convae import load_model
        >>> model = load_model("parts/model.safetensors")  # doctest: +SKIP
        >>> model.jobs  # doctest: +SKIP
        ('anomalies',)
        >>> model.job("anomalies").p_values(images)  # doctest: +SKIP
    """

    def __init__(
        self,
        contents: ModelContents,
        origin: str = "the model",
        make_network: MakeNetwork = KerasNetwork,
    ) -> None:
        self.contents = contents
        self._origin = origin
        self._make_network = make_network
        self._fitted: dict[str, Any] = {}

    @property
    def architecture(self) -> Architecture:
        """The shape of the network."""
        return self.contents.architecture

    @cached_property
    def network(self) -> Network:
        """The trained network."""
        return self._make_network(self.architecture, self.contents.weights)

    @cached_property
    def autoencoder(self) -> TrainedAutoencoder:
        """What the network does with images."""
        return TrainedAutoencoder(self.network, self.contents.preprocessing["channel_axis"])

    @property
    def jobs(self) -> tuple[str, ...]:
        """The names of the jobs that were fitted."""
        return tuple(self.contents.jobs)

    def job(self, name: str) -> Any:  # noqa: ANN401 # another class for each job
        """What applies a job: `FittedDetector` for "anomalies", `FittedCodec` for "codec".

        Raises:
            ModelFileError: The model lacks the job, or what it keeps is of the wrong kind.
            KeyError: There is no such job.
        """
        if name not in self._fitted:
            kind = job_kinds()[name]
            found = job_of(self.contents, kind, self._origin)
            self._fitted[name] = kind.fitted_class().from_job(found, self.network, self._origin)
        return self._fitted[name]

    def with_jobs(self, jobs: Mapping[str, FittedJob]) -> "TrainedModel":
        """The same model with these jobs added; they replace earlier ones of the same name."""
        return TrainedModel(self.contents.with_jobs(jobs), self._origin, self._make_network)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the one model file (docs/format), whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        write_model(path, self.contents)


def load_model(path: str | os.PathLike[str]) -> TrainedModel:
    """Read a model file, which may come from a stranger: nothing in it is ever run.

    Args:
        path: What `save` of a model, an estimator or a job wrote.

    Raises:
        ModelFileError: The file is missing, damaged, hostile or too new.
    """
    return TrainedModel(read_model(path), str(path))


def job_of(contents: ModelContents, kind: JobKind, origin: str) -> FittedJob:
    """What a file keeps of a job.

    Args:
        contents: What `convae.storage.modelfile.read_model` returned.
        kind: The job.
        origin: What the message calls the file.

    Raises:
        ModelFileError: It lacks the job.
    """
    if kind.name not in contents.jobs:
        raise ModelFileError(
            f"{origin} must hold {kind.what}; received a model without one. Make one: "
            f"convae train IMAGES --for {kind.name}."
        )
    return contents.jobs[kind.name]
