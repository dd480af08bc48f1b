"""Train, fit jobs and print the results, for the verbs `demo` and `train`."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convae.cli.output import Interrupted, finish, say
from convae.cli.progress import TrainingProgress, counted
from convae.errors import OutputError

if TYPE_CHECKING:
    from convae import ConvAutoencoder, Dataset, Result, TrainedModel
    from convae.jobs.job import Job


def train_and_tell(
    dataset: "Dataset",
    autoencoder: "ConvAutoencoder",
    jobs: "Sequence[Job]",
    out: Path,
    *,
    is_trained: bool = False,
    choose_latent_dim: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    again: str,
    tensorboard: Path | None = None,
    as_json: bool,
    **figures: Any,  # noqa: ANN401 # JSON values
) -> None:
    """Train an autoencoder, unless it is trained, fit jobs beside it, write and print the results.

    Args:
        dataset: What to train on.
        autoencoder: The estimator.
        jobs: Estimators of jobs.
        out: Folder for the results.
        is_trained: Whether the autoencoder stays as it is.
        choose_latent_dim: Whether the number of latents is found first; a training that is resumed
            keeps its own.
        resume: Whether to resume the training in the folder.
        overwrite: Whether a model or an unfinished training there may be replaced.
        again: What to do after an interruption, in words.
        tensorboard: Folder for a TensorBoard log.
        as_json: Print one JSON object instead of text.
        **figures: What else the JSON object has.
    """
    from convae import (
        CHECKPOINT,
        Result,
        RunOptions,
        TensorBoardLog,
        add_jobs,
        check_folder,
        judge_training,
        prepare_folder,
        train_model,
        write_training,
    )
    from convae.nn.checkpoint import checkpoint_architecture
    from convae.storage.exclusive import only_writer

    observers: list[Any] = []
    if tensorboard is not None:
        observers.append(TensorBoardLog(tensorboard))
    # Last: nothing that can fail starts after a bar.
    observers.append(TrainingProgress())
    checkpoint = prepare_folder(out) / CHECKPOINT
    with (
        only_writer(out),
        _keeping(checkpoint, resume, again),
        counted("fitting jobs") as progress,
    ):
        # Once more, since another training may have ended here meanwhile.
        check_folder(out, overwrite=overwrite, resume=resume)
        chosen = Result()
        if choose_latent_dim and resume:
            autoencoder.set_params(latent_dim=checkpoint_architecture(checkpoint).latent_dim)
        elif choose_latent_dim:
            chosen = _choose_latent_dim(dataset, autoencoder, jobs, out)
        fit: Callable[..., TrainedModel] = add_jobs
        if not is_trained:
            fit = partial(train_model, run=RunOptions(checkpoint, resume, observers))
        model = fit(
            dataset.train, autoencoder, jobs, pictures=dataset.originals(),
            labels=dataset.labels(), progress=progress,
        )  # fmt: skip
        files = write_training(out, dataset, autoencoder, model, jobs)
    judged = judge_training(dataset, autoencoder, jobs)
    everything = Result(
        {**judged.figures, **chosen.figures, **figures},
        judged.lines,
        {**files, **chosen.files},
    )
    finish(dataset, everything, as_json)


def _choose_latent_dim(
    dataset: "Dataset", autoencoder: "ConvAutoencoder", jobs: "Sequence[Job]", out: Path
) -> "Result":
    """Find how many numbers the images need, say so, and set them."""
    from convae import Result, latent_dim_curve, left_by

    with counted("trying numbers of latents") as progress:
        curve = latent_dim_curve(left_by(jobs, dataset.train), autoencoder, progress=progress)
    autoencoder.set_params(latent_dim=curve.recommended)
    described = curve.describe()
    say(*described.lines, err=True)
    return Result(described.figures, described.lines, curve.write(out))


@contextlib.contextmanager
def _keeping(checkpoint: Path, resume: bool, again: str) -> Iterator[None]:
    """If something stops the training, say where its checkpoint is, if there is one."""
    before = None if resume else _stamp(checkpoint)
    try:
        yield
    except (KeyboardInterrupt, OutputError) as error:
        if _stamp(checkpoint) in (None, before):
            raise
        where = f"the training so far is kept in {checkpoint}. Go on with {again}."
        if isinstance(error, OutputError):
            raise OutputError(f"{error} Meanwhile {where}") from error
        raise Interrupted(f"Interrupted; {where}") from error


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes if the file is rewritten; None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
