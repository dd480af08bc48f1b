"""A training as a whole: the files that it leaves, and how good the model is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convae.autoencoder.applied import model_mse
from convae.autoencoder.estimator import ConvAutoencoder
from convae.baselines.pca import pca_mse
from convae.datasets import Dataset
from convae.images.copies import copies_told, copy_groups
from convae.images.metrics import psnr_db
from convae.images.selection import Images, Indices, Selection
from convae.jobs.job import Job
from convae.jobs.model import TrainedModel
from convae.report.figures import COMPARED
from convae.report.result import Result
from convae.report.runs import write_run

# Images of the training set that are judged beside others.
MOST_COMPARED = 2_000
# An error on new images that is so many times that on known ones is worth a word.
PARTED = 2.0


def write_training(
    folder: Path,
    dataset: Dataset,
    autoencoder: ConvAutoencoder,
    model: TrainedModel,
    jobs: Sequence[Job],
) -> dict[str, str]:
    """Write the model file, its pictures, and the files of each job.

    Args:
        folder: Where to.
        dataset: What it was trained on.
        autoencoder: The fitted estimator.
        model: It and its jobs.
        jobs: The jobs that were fitted.

    Returns:
        The path of each file by what it is.

    Raises:
        OutputError: A file cannot be written.
    """
    shown = _parts(dataset, autoencoder, jobs)[2]
    files = write_run(folder, autoencoder, shown[:COMPARED], model.save)
    names = dataset.names()
    for job in jobs:
        files |= job.write(folder, names)
    return files


def judge_training(dataset: Dataset, autoencoder: ConvAutoencoder, jobs: Sequence[Job]) -> Result:
    """The error of a model beside that of PCA with as many numbers, and what each job says.

    It is judged on the test images if there are any, else on images that it was not trained on,
    else on the training images.

    Args:
        dataset: What it was trained on.
        autoencoder: The fitted estimator.
        jobs: The jobs that were fitted.
    """
    split, seen, judged = _parts(dataset, autoencoder, jobs)
    mse = model_mse(autoencoder, judged)
    architecture = autoencoder.architecture_
    cheap = pca_mse(seen, judged, architecture.latent_dim)
    figures: dict[str, Any] = {
        "num_images": len(dataset.train),
        "image_shape": list(architecture.image_shape),
        "epochs": autoencoder.n_iter_,
        "judged_on": split,
        "mse": mse,
        "psnr_db": psnr_db(mse),
        "pca_mse": cheap,
        "jobs": {},
    }
    lines = [
        f"{split} MSE {mse:.5f} (PSNR {psnr_db(mse):.1f} dB) with {architecture.latent_dim} "
        f"numbers per image; PCA with as many gives {cheap:.5f}"
    ]
    known = seen[np.linspace(0, len(seen) - 1, min(len(seen), MOST_COMPARED)).astype(int)]
    figures["train_mse"] = model_mse(autoencoder, known)
    lines += _warnings(split, mse, figures["train_mse"], cheap)
    augmentation = getattr(autoencoder, "augmentation_", None)
    if augmentation is not None:
        figures["augmentation"] = augmentation.to_json()
        lines.append(augmentation.told())
    copies = getattr(autoencoder, "num_copies_", 0)
    if copies:
        figures["num_validation_copies"] = copies
        lines.append(f"for the validation, {copies_told(copies)}")
    for job in jobs:
        described = job.describe()
        figures["jobs"][job.kind.name] = described.figures
        lines += described.lines
    return Result(figures, lines)


def _warnings(split: str, mse: float, train_mse: float, pca: float) -> list[str]:
    """What a user should know of these errors, and what to do."""
    found = []
    if split == "training":
        found.append(
            "it was judged on images that it learned from; hold some out with --validation-split "
            "0.1 to see what others get"
        )
    if mse > PARTED * train_mse:
        found.append(
            f"images that it learned from have an MSE of {train_mse:.5f}, {mse / train_mse:.1f} "
            f"times less: it knows them too well. More images help, or more distortion (--warp 2)"
        )
    if pca <= mse:
        found.append(
            "PCA is as good here, and cheaper: train longer (--epochs), or with more numbers per "
            "image (--latent-dim auto)"
        )
    return found


def _parts(
    dataset: Dataset, autoencoder: ConvAutoencoder, jobs: Sequence[Job]
) -> tuple[str, Images, Images]:
    """What a model is judged on, the images trained on, and the images to judge on."""
    train = dataset.train
    if dataset.test is not None:
        return "test", train, dataset.test
    # A network that was read from a file may have been trained on any of them.
    held_out = np.empty(0, np.intp)
    if hasattr(autoencoder, "validation_indices_"):
        judged = [job.judged() for job in jobs]
        held_out = np.unique(np.concatenate([held_out, *judged]))
        if not len(held_out):
            held_out = autoencoder.validation_indices_
    if not len(held_out):
        return "training", train, train
    everything = Selection(train, np.arange(len(train)))
    return "validation", _without_copies(everything, held_out), everything.take(held_out)


def _without_copies(images: Selection, held_out: Indices) -> Selection:
    """Images but for some and copies of them; with these copies, if there are no others."""
    groups = copy_groups(images)
    known = np.flatnonzero(np.isin(groups, groups[held_out]))
    return images.without(known if len(known) < len(images) else held_out)
