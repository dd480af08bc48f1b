"""How many latent numbers images need: the error of held-out images for several lengths."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.base import clone

from convae.autoencoder.applied import model_mse
from convae.autoencoder.estimator import ConvAutoencoder
from convae.baselines.pca import pca_mse
from convae.checks import whole_number
from convae.errors import DataError, ParameterError
from convae.images.copies import copy_groups
from convae.images.distortion import DISTORTIONS
from convae.images.selection import ImagesLike, Selection, held_out_indices
from convae.jobs.job import Progress
from convae.report.chart import line_chart
from convae.report.result import Result
from convae.report.tables import csv_table
from convae.storage.files import write_whole

DEFAULT_DIMS = (2, 4, 8, 16, 32, 64)
# Each length is tried with this share of the epochs: more of them would not change their order.
TRIED = 0.5
HELD_OUT = 0.1
FEWEST_IMAGES = 10
# Twice as many numbers must take away this share of the error to be worth it.
LEAST_GAIN = 0.2
TABLE, CHART = "latent_dim.csv", "latent_dim.png"


@dataclass(frozen=True)
class LatentDimCurve:
    """The error of held-out images for several lengths of the latent vector.

    Args:
        latent_dims: The lengths, ascending.
        mse: For each the mean squared error of an autoencoder, trained for half of the epochs.
        pca_mse: For each that of as many principal components.
        num_held_out: Images that this was measured on.
        recommended: The first length after which no longer one is worth its numbers.
    """

    latent_dims: tuple[int, ...]
    mse: tuple[float, ...]
    pca_mse: tuple[float, ...]
    num_held_out: int
    recommended: int

    def describe(self) -> Result:
        """It as figures and in words."""
        lines = [
            f"{self.recommended} numbers per image: after them, twice as many take less than "
            f"{LEAST_GAIN:.0%} of the error away, on {self.num_held_out:,} held-out images and "
            f"after {TRIED:.0%} of a training"
        ]
        lines += [
            f"  {latent_dim:5d} numbers: MSE {mse:.5f}; PCA {linear:.5f}"
            for latent_dim, mse, linear in self._rows()
        ]
        figures = {
            "latent_dims": list(self.latent_dims),
            "mse": list(self.mse),
            "pca_mse": list(self.pca_mse),
            "num_held_out": self.num_held_out,
            "recommended": self.recommended,
        }
        return Result({"latent_dim_curve": figures}, lines)

    def write(self, folder: Path) -> dict[str, str]:
        """Write it as a table and as a chart.

        Raises:
            OutputError: A file cannot be written.
        """
        lines = {"autoencoder": self.mse, "PCA": self.pca_mse}
        chart = line_chart(self.latent_dims, lines, "numbers per image", "MSE")
        write_whole(folder / TABLE, csv_table(("latent_dim", "mse", "pca_mse"), self._rows()))
        write_whole(folder / CHART, chart)
        return {"latent_dim": str(folder / TABLE), "latent_dim_chart": str(folder / CHART)}

    def _rows(self) -> list[tuple[int, float, float]]:
        return list(zip(self.latent_dims, self.mse, self.pca_mse, strict=True))


def latent_dim_curve(
    images: ImagesLike,
    autoencoder: ConvAutoencoder | None = None,
    *,
    latent_dims: Sequence[int] = DEFAULT_DIMS,
    progress: Progress | None = None,
) -> LatentDimCurve:
    """Train with several lengths of the latent vector, for half of the epochs each.

    Six lengths take some three times as long as one training.

    Args:
        images: The images, 10 or more, as `ConvAutoencoder` takes them. A tenth is held out; copies
            and near-copies of an image go with it.
        autoencoder: An estimator with everything else; None takes `ConvAutoencoder()`. It stays as
            it is.
        latent_dims: Lengths to try, ascending, each 1 or more.
        progress: Called with the lengths done and all lengths.

    Raises:
        ParameterError: A parameter is outside its range, or lengths do not ascend.
        ImageError: The images break the image contract.
        DataError: There are fewer than 10 images.
    """
    dims = tuple(whole_number(number, "each of latent_dims", 1, 2**20) for number in latent_dims)
    if not dims or list(dims) != sorted(set(dims)):
        raise ParameterError(
            f"latent_dims must be whole numbers that ascend; received {latent_dims!r:.80}. Pass "
            f"for example (4, 8, 16)."
        )
    chosen = Selection.of(images)
    if len(chosen) < FEWEST_IMAGES:
        raise DataError(
            f"Choosing the number of latents needs {FEWEST_IMAGES} images or more, to hold some "
            f"out; received {len(chosen)}. Add images, or give the number."
        )
    estimator = ConvAutoencoder() if autoencoder is None else autoencoder
    held_out = held_out_indices(
        len(chosen), HELD_OUT, estimator.seed, "the held-out share", copy_groups(chosen)
    )
    seen, judged = chosen.without(held_out), chosen.take(held_out)
    # Chosen once, and by all epochs: half of them could be too few to distort images.
    recipe = estimator.recipe(seen)
    chosen_once = {name: getattr(recipe, name) for name in DISTORTIONS}
    epochs = max(1, round(TRIED * recipe.epochs))
    mse, linear = [], []
    for done, latent_dim in enumerate(dims, start=1):
        model = clone(estimator).set_params(
            latent_dim=latent_dim, epochs=epochs, validation_split=0.0, patience=None, **chosen_once
        )
        mse.append(model_mse(model.fit(seen), judged))
        linear.append(pca_mse(seen, judged, latent_dim))
        if progress is not None:
            progress(done, len(dims))
    return LatentDimCurve(dims, tuple(mse), tuple(linear), len(judged), recommend(dims, mse))


def recommend(latent_dims: Sequence[int], mse: Sequence[float]) -> int:
    """The first length from which no longer one is worth its numbers.

    Args:
        latent_dims: Lengths, ascending.
        mse: The error with each.
    """
    known = list(zip(latent_dims, mse, strict=True))

    def is_enough(place: int) -> bool:
        shorter, error = known[place]
        # What as many doublings as lead to a longer one must leave at most.
        return all(
            error == 0 or less > error * (1 - LEAST_GAIN) ** math.log2(longer / shorter)
            for longer, less in known[place + 1 :]
        )

    # After the last there is none.
    return next(latent_dims[place] for place in range(len(known)) if is_enough(place))
