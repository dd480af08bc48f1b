"""Train an autoencoder and fit jobs beside it, or add jobs to one that is trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from convae.architecture.run import UNOBSERVED, RunOptions
from convae.autoencoder.estimator import ConvAutoencoder
from convae.errors import ParameterError
from convae.images.selection import ImagesLike, Selection
from convae.jobs.job import Job, Material, Pictures, Progress
from convae.jobs.model import TrainedModel


def train_model(
    images: ImagesLike,
    autoencoder: ConvAutoencoder | None = None,
    jobs: Sequence[Job] = (),
    *,
    run: RunOptions = UNOBSERVED,
    pictures: Pictures | None = None,
    labels: ArrayLike | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train an autoencoder on images, and fit jobs beside it.

    Args:
        images: The images, as `ConvAutoencoder` takes them.
        autoencoder: The estimator to fit; None takes `ConvAutoencoder()`.
        jobs: Estimators of jobs, such as `AnomalyDetector()` and `ImageCodec()`; they are fitted.
        run: What the training keeps on the disk, and who watches it.
        pictures: The same images before they were brought to one size, in batches as
            `convae.exact_batches` gives them; no iterator, since each job may go through
            them.
        labels: Of what kind each image is, `(num_images,)`, for jobs that learn each kind by
            itself.
        progress: Called with the steps done and all steps of fitting a job.

    Raises:
        ParameterError: A parameter is outside its range, or there are too few images.
        ImageError: The images break the image contract.
        ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        KeyboardInterrupt: Ctrl-C was pressed; the checkpoint is written.
    """
    chosen = Selection.of(images)
    estimator = ConvAutoencoder() if autoencoder is None else autoencoder
    material = Material(chosen, False, pictures, _checked(labels, len(chosen)), progress)
    architecture = estimator.plan(chosen)
    for job in jobs:
        job.check_fit(architecture, material)
    estimator.fit(left_by(jobs, chosen), run=run)
    return _fit_beside(estimator, jobs, material)


def left_by(jobs: Sequence[Job], images: ImagesLike) -> Selection:
    """The images that an autoencoder may learn from, if jobs are to be fitted beside it.

    Args:
        jobs: Their estimators; some keep images to themselves, to judge on.
        images: The images, as `ConvAutoencoder` takes them.

    Raises:
        ParameterError: There are too few images for a job.
        ImageError: The images break the image contract.
    """
    chosen = Selection.of(images)
    reserved = [job.reserve(chosen) for job in jobs]
    return chosen.without(np.unique(np.concatenate([np.empty(0, np.intp), *reserved])))


def add_jobs(
    images: ImagesLike,
    autoencoder: ConvAutoencoder,
    jobs: Sequence[Job],
    *,
    pictures: Pictures | None = None,
    labels: ArrayLike | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Fit jobs beside an autoencoder that is trained, which stays as it is.

    It may have been trained on the same images. So an `AnomalyDetector` chooses only among scores
    that do not need the network: for these, its rate of false alarms holds.

    Args:
        images: Images of the autoencoder's size.
        autoencoder: The fitted estimator, such as `ConvAutoencoder.load` gives.
        jobs: Estimators of jobs; they are fitted.
        pictures: As in `train_model`.
        labels: As in `train_model`.
        progress: As in `train_model`.

    Returns:
        The model with these jobs, and those that the autoencoder's file had.

    Raises:
        ParameterError: A parameter is outside its range, or there are too few images.
        ImageError: The images break the image contract or are of another size.
    """
    chosen = Selection.of(images)
    autoencoder.checked(chosen.images[:1])
    material = Material(chosen, True, pictures, _checked(labels, len(chosen)), progress)
    for job in jobs:
        job.check_fit(autoencoder.architecture_, material)
        job.reserve(chosen)
    return _fit_beside(autoencoder, jobs, material)


def fit_job(
    job: Job,
    images: ImagesLike,
    autoencoder: ConvAutoencoder | None,
    *,
    run: RunOptions = UNOBSERVED,
    pictures: Pictures | None = None,
    labels: ArrayLike | None = None,
    progress: Progress | None = None,
) -> None:
    """Fit one job: beside an autoencoder that is fitted, as it is; otherwise beside a fitted clone.

    Args:
        job: Its estimator.
        images: As in `train_model`.
        autoencoder: The estimator; None takes `ConvAutoencoder()`.
        run: As in `train_model`.
        pictures: As in `train_model`.
        labels: As in `train_model`.
        progress: As in `train_model`.

    Raises:
        ParameterError: As `train_model`.
        ImageError: As `train_model`.
        ModelFileError: As `train_model`.
    """
    estimator = ConvAutoencoder() if autoencoder is None else autoencoder
    if _is_fitted(estimator):
        add_jobs(images, estimator, [job], pictures=pictures, labels=labels, progress=progress)
    else:
        train_model(
            images, clone(estimator), [job], run=run, pictures=pictures, labels=labels,
            progress=progress,
        )  # fmt: skip


def _checked(labels: ArrayLike | None, num_images: int) -> NDArray[Any] | None:
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (num_images,):
        raise ParameterError(
            f"There must be one label for each of the {num_images:,} images; received labels of "
            f"shape {found.shape}. Pass as many, or none."
        )
    return found


def _is_fitted(estimator: ConvAutoencoder) -> bool:
    try:
        check_is_fitted(estimator, "architecture_")
    except NotFittedError:
        return False
    return True


def _fit_beside(
    autoencoder: ConvAutoencoder, jobs: Sequence[Job], material: Material
) -> TrainedModel:
    for job in jobs:
        job.fit_beside(autoencoder, material)
    fitted = {job.kind.name: job.to_job() for job in jobs}
    contents = autoencoder.to_contents().with_jobs(fitted)
    return TrainedModel(contents, make_network=lambda *_: autoencoder.network_)
