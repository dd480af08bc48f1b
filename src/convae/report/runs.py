"""The files that a training, a reconstruction and an embedding leave; it trains nothing itself."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.autoencoder.applied import AppliedAutoencoder
from convae.autoencoder.estimator import ConvAutoencoder
from convae.errors import OutputError, ParameterError
from convae.images import to_float, to_uint8
from convae.images.memory import chunks
from convae.images.metrics import psnr_db, squared_errors, ssim
from convae.images.pictures import write_image
from convae.report.figures import COMPARED, comparison, gallery, loss_curve
from convae.report.result import Result
from convae.report.tables import csv_table
from convae.storage.files import check_output, results_folder, write_whole

MODEL = "model.safetensors"
CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.csv"
LOSS_CURVE = "loss_curve.png"
OUTPUT_IMAGE = "output_image.png"
GALLERY = "gallery.png"
ERRORS = "errors.csv"


def check_folder(folder: str | os.PathLike[str], *, overwrite: bool, resume: bool) -> None:
    """Refuse, before anything is read or written, what a training must not replace or lacks.

    Args:
        folder: Folder for the results.
        overwrite: Whether a model or an unfinished training there may be replaced.
        resume: Whether to resume the unfinished training there.

    Raises:
        OutputError: The folder cannot be looked at, or holds what must stay.
        ParameterError: There is nothing to resume.
    """
    path = Path(folder)
    try:
        model, checkpoint = (path / MODEL).exists(), (path / CHECKPOINT).exists()
    except OSError as error:
        raise OutputError(
            f"Results must have a folder of their own; looking at {path} gave "
            f"'{error.strerror}'. Choose another place."
        ) from error
    if resume and not checkpoint:
        raise ParameterError(
            f"--resume needs the checkpoint of an interrupted training; there is none in {path}. "
            f"Name the folder of that training with --out, or train without --resume."
        )
    if (model or checkpoint) and not (overwrite or resume):
        found, name = (
            ("A finished model", MODEL) if model else ("An unfinished training", CHECKPOINT)
        )
        raise OutputError(
            f"{found} must not be replaced without --overwrite; {path / name} exists. Choose "
            f"another --out, add --overwrite, or add --resume."
        )


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """Make sure, before hours of work, that results can be written to a folder; it may be new.

    Raises:
        OutputError: It cannot be written.
    """
    with results_folder(folder):
        return Path(folder)


def write_run(
    folder: Path,
    model: ConvAutoencoder,
    shown: NDArray[Any],
    save: Callable[[Path], None],
) -> dict[str, str]:
    """Write the model file, `history.csv`, the loss curve and `output_image.png`.

    Args:
        folder: Where to.
        model: The fitted estimator.
        shown: Images of which the first ten are pictured.
        save: Writes the model file, with what jobs fitted beside the network.

    Returns:
        The path of each file by what it is.

    Raises:
        OutputError: A file cannot be written.
    """
    save(folder / MODEL)
    write_whole(folder / HISTORY, history_csv(model.history_))
    write_whole(folder / LOSS_CURVE, loss_curve(model.history_))
    first = np.asarray(shown[:COMPARED])
    write_comparison(folder / OUTPUT_IMAGE, first, model.reconstruct(first))
    return {
        "model": str(folder / MODEL),
        "history": str(folder / HISTORY),
        "loss_curve": str(folder / LOSS_CURVE),
        "output_image": str(folder / OUTPUT_IMAGE),
    }


def write_reconstructions(
    folder: Path,
    model: AppliedAutoencoder,
    originals: NDArray[Any],
    names: Sequence[str],
    num_shown: int,
    refinement_steps: int = 0,
) -> Result:
    """Write `output_image.png`, `gallery.png` and `errors.csv`, which appear together.

    Args:
        folder: Where to.
        model: The trained autoencoder.
        originals: Images of its size, uint8 or float32 in [0, 1].
        names: One for each image.
        num_shown: Images in the gallery, evenly from the best to the worst reconstruction.
        refinement_steps: As in `ConvAutoencoder.reconstruct`.

    Returns:
        The mean errors (`mse`, `psnr_db` of that mean, `ssim`), and the path of each file.

    Raises:
        OutputError: A file cannot be written.
    """
    parts = []
    for chunk in chunks(originals):
        part = to_float(originals[chunk])
        rebuilt = model.reconstruct(part, refinement_steps)
        parts.append((squared_errors(part, rebuilt), ssim(part, rebuilt)))
    mse, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    first = originals[:COMPARED]
    compared = model.reconstruct(first, refinement_steps)
    ranks = np.linspace(0, len(mse) - 1, min(num_shown, len(mse))).round().astype(int)
    chosen = np.argsort(mse, kind="stable")[ranks]
    shown = originals[chosen]
    pictured = to_uint8(model.reconstruct(shown, refinement_steps))
    captions = [names[index] for index in chosen]
    rows = [
        (name, f"{error:.6g}", f"{psnr_db(float(error)):.3f}", f"{likeness:.5f}")
        for name, error, likeness in zip(names, mse, similarity, strict=True)
    ]
    with results_folder(folder) as work:
        write_comparison(work / OUTPUT_IMAGE, first, compared)
        write_image(work / GALLERY, gallery(to_uint8(shown), pictured, mse[chosen], captions))
        write_whole(work / ERRORS, csv_table(("image", "mse", "psnr_db", "ssim"), rows))
    mean = float(mse.mean())
    ratio, likeness = psnr_db(mean), float(similarity.mean())
    text = f"{len(mse):,} images: MSE {mean:.5f}, PSNR {ratio:.1f} dB, SSIM {likeness:.4f}"
    return Result(
        {"num_images": len(mse), "mse": mean, "psnr_db": ratio, "ssim": likeness},
        [text],
        {
            "output_image": str(folder / OUTPUT_IMAGE),
            "gallery": str(folder / GALLERY),
            "errors": str(folder / ERRORS),
        },
    )


def check_reconstructions(
    folder: Path, inputs: Sequence[str | os.PathLike[str]] = (), *, overwrite: bool
) -> None:
    """Refuse, before any work, to replace what `write_reconstructions` would replace.

    Args:
        folder: Where it is to write.
        inputs: What is read.
        overwrite: Whether earlier results there may be replaced.

    Raises:
        OutputError: There are some, or a file that is read.
    """
    for name in (OUTPUT_IMAGE, GALLERY, ERRORS):
        check_output(folder / name, inputs, overwrite=overwrite)


def check_latents_path(path: Path) -> None:
    """Refuse, before any work, a path whose ending `write_latents` does not know.

    Raises:
        ParameterError: It ends neither in .npy nor in .csv.
    """
    if path.suffix.lower() not in (".npy", ".csv"):
        raise ParameterError(
            f"Latents are written to a path that ends in .npy or .csv; received {str(path)!r}. "
            f"Choose one of them."
        )


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    # Not straight to the file: there NumPy does not notice that the disk is full.
    stream = io.BytesIO()
    np.save(stream, array)
    write_whole(path, stream.getvalue())


def write_latents(path: Path, latents: NDArray[np.float32], names: Sequence[str]) -> Result:
    """Write latents as .npy, or as .csv with a name for each image.

    Args:
        path: Where to; its ending decides.
        latents: float32 `(num_images, latent_dim)`.
        names: One for each image.

    Raises:
        ParameterError: The path ends otherwise.
        OutputError: The file cannot be written.
    """
    check_latents_path(path)
    num_images, latent_dim = latents.shape
    if path.suffix.lower() == ".npy":
        write_npy(path, latents)
    else:
        header = ("image", *(f"latent{index}" for index in range(latent_dim)))
        rows = [
            (name, *(f"{value:.9g}" for value in row))
            for name, row in zip(names, latents, strict=True)
        ]
        write_whole(path, csv_table(header, rows))
    return Result(
        {"num_images": num_images, "latent_dim": latent_dim},
        [f"{num_images:,} images, {latent_dim} numbers each"],
        {"latents": str(path)},
    )


def history_csv(history: Sequence[Mapping[str, object]]) -> bytes:
    """The records of `ConvAutoencoder.history_` as CSV: one row per epoch."""
    return csv_table(tuple(history[0]), [tuple(record.values()) for record in history])


def write_comparison(
    path: Path, originals: NDArray[Any], reconstructions: NDArray[np.float32]
) -> None:
    """Write the picture of originals (left) and reconstructions (right), one row per image."""
    write_image(path, comparison(to_uint8(originals), to_uint8(reconstructions)))
