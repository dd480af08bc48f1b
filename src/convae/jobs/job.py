"""What every job offers, so that training, describing and storing need not know which it is."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from convae.architecture.plan import Architecture
from convae.autoencoder.estimator import ConvAutoencoder
from convae.images.selection import Indices, Selection
from convae.jobs.kind import JobKind
from convae.jobs.model import job_of
from convae.report.result import Result
from convae.storage.modelfile import FittedJob, ModelContents, read_model, write_model

Progress: TypeAlias = Callable[[int, int], None]
Pictures: TypeAlias = Iterable[tuple[NDArray[Any], Sequence[str]]]


@dataclass(frozen=True, eq=False)
class Material:
    """What a job is fitted on.

    Args:
        images: All images, including those that the job reserved.
        network_saw_all: Whether the network was trained on the reserved images as well, as when a
            job is added to an existing model.
        pictures: The same images before they were brought to one size, in batches as
            `convae.exact_batches` gives them; each job may go through them anew. None if
            there are none.
        labels: Of what kind each image is, `(num_images,)`, numbers or texts; None if unknown.
        progress: Called with the steps done and all steps.
    """

    images: Selection
    network_saw_all: bool = False
    pictures: Pictures | None = None
    labels: NDArray[Any] | None = None
    progress: Progress | None = None


class Job(ABC):
    """One thing that a model can do beside reconstructing: an estimator that fits it.

    Attributes:
        kind: Which job it is.
        autoencoder_: The fitted `ConvAutoencoder` that it was fitted beside.
    """

    kind: JobKind
    autoencoder_: ConvAutoencoder

    def check(self) -> None:  # noqa: B027 # not every job has parameters
        """Refuse parameters outside their ranges, before anything is read.

        Raises:
            ParameterError: One of them is.
        """

    def check_fit(self, architecture: Architecture, material: Material) -> None:
        """Refuse what the job cannot be fitted with, before a network is trained.

        Args:
            architecture: Of the network.
            material: What it would learn from.

        Raises:
            ParameterError: The network or the material lacks something.
        """
        del architecture, material

    def reserve(self, images: Selection) -> Indices:
        """Positions of images that the network must not be trained on; none by default.

        Raises:
            ParameterError: There are too few images, or a parameter is outside its range.
        """
        del images
        return np.empty(0, np.intp)

    @abstractmethod
    def fit_beside(self, autoencoder: ConvAutoencoder, material: Material) -> Self:
        """Fit beside a network that is trained.

        Args:
            autoencoder: The fitted estimator.
            material: What to learn from; `reserve` was called with its images.

        Raises:
            ParameterError: A parameter is outside its range.
            DataError: There are no pictures.
        """

    @abstractmethod
    def to_job(self) -> FittedJob:
        """What the model file keeps beside the network."""

    @classmethod
    @abstractmethod
    def from_job(cls, job: FittedJob, autoencoder: ConvAutoencoder, origin: str) -> Self:
        """A fitted estimator from what `to_job` gave, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """

    @abstractmethod
    def describe(self) -> Result:
        """What was learned, and what a cheap method does beside it."""

    def judged(self) -> Indices:
        """Positions of reserved images that the network can be judged on; none by default."""
        return np.empty(0, np.intp)

    def write(self, folder: Path, names: Sequence[str]) -> dict[str, str]:
        """Write what the job leaves beside the model file; the path of each file by what it is.

        Args:
            folder: Where to.
            names: One for each image.

        Raises:
            OutputError: A file cannot be written.
        """
        del folder, names
        return {}

    def to_contents(self) -> ModelContents:
        """What `save` writes."""
        check_is_fitted(self, "autoencoder_")
        return self.autoencoder_.to_contents().with_jobs({self.kind.name: self.to_job()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the one model file, whole or not at all; it is the autoencoder's file too.

        Raises:
            OutputError: The file cannot be written.
        """
        write_model(path, self.to_contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file, which may come from a stranger: nothing in it is ever run.

        Raises:
            ModelFileError: The file is missing, damaged, hostile or too new, or lacks this job.
        """
        contents, origin = read_model(path), str(path)
        job = job_of(contents, cls.kind, origin)
        return cls.from_job(job, ConvAutoencoder.from_contents(contents, origin), origin)
