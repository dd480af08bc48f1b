"""`ImageCodec`: images as small files and back, by a model that learned from similar images."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from convae.architecture.plan import Architecture
from convae.architecture.run import UNOBSERVED, RunOptions
from convae.autoencoder.estimator import ConvAutoencoder
from convae.coding.blocks import to_planes
from convae.coding.decoder import check_sizes
from convae.coding.tiles import Tiles
from convae.images import to_float, to_uint8
from convae.images.selection import ImagesLike
from convae.jobs.codec import JOB
from convae.jobs.codec.fitted import AppliedCodec
from convae.jobs.codec.latents import fit_latent_codes
from convae.jobs.codec.pixels import collect_tiles, fit_contexts
from convae.jobs.codec.stored import from_job
from convae.jobs.job import Job, Material, Pictures, Progress
from convae.jobs.training import fit_job
from convae.report.result import Result
from convae.storage.modelfile import FittedJob

# Most bytes to learn from, of images drawn at random.
MOST_BYTES = 1 << 26


class ImageCodec(AppliedCodec, Job, BaseEstimator):  # type: ignore[misc] # sklearn is untyped
    """Learns how the pixels of images of one kind follow from their neighbors, and codes them.

    Any image of any size can be coded; one unlike the images learned from takes more bytes.
    Decoding uses exact sums, so every machine gives the same pixels.

    Args:
        autoencoder: The estimator whose file the codec is kept in. One that is fitted is used as
            it is; otherwise a clone is fitted. None takes `ConvAutoencoder()`.
        seed: Decides what is drawn to learn from.

    Attributes:
        autoencoder_: The fitted `ConvAutoencoder`.
        contexts_: What codes pixels (`convae.coding.contextmodel.ContextModel`).
        latents_: What codes latents (`convae.coding.latents.LatentModel`).
        trials_: For each plane of bytes, the bits per byte on held-out images after a short
            training, by value and by distance from a prediction; the lower one decided which sort
            of network codes it. `load` does not set it.

    Example:
        >>> from convae import ImageCodec, load_dataset
        >>> digits = load_dataset("digits").train
        >>> codec = ImageCodec().fit(digits)  # doctest: +SKIP
        >>> summary = codec.compress(digits, "digits.cae")  # doctest: +SKIP
        >>> with codec.open("digits.cae") as archive:  # doctest: +SKIP
        ...     first = archive[0]
    """

    kind = JOB

    def __init__(self, autoencoder: ConvAutoencoder | None = None, *, seed: int = 0) -> None:
        self.autoencoder = autoencoder
        self.seed = seed

    def fit(
        self,
        X: ImagesLike,
        y: object = None,  # noqa: ARG002 # scikit-learn's signature
        *,
        run: RunOptions = UNOBSERVED,
        pictures: Pictures | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from images.

        Args:
            X: The images, as `ConvAutoencoder` takes them; gray floats that are no bytes are
                learned as 16-bit values.
            y: Ignored; scikit-learn passes it.
            run: As in `ConvAutoencoder.fit`.
            pictures: The pictures that X was made of, in batches as
                `convae.exact_batches` gives them, if these will be compressed instead of X.
                Only those of the kind (channels and bits) that has the most bytes are learned from.
            progress: Called with the steps done and all steps of learning to code.

        Raises:
            ParameterError: A parameter is outside its range.
            ImageError: X breaks the image contract.
            DataError: There are no pictures.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        """
        fit_job(self, X, self.autoencoder, run=run, pictures=pictures, progress=progress)
        return self

    def check_fit(self, architecture: Architecture, material: Material) -> None:
        """Refuse a network whose decoder would take too much memory in integers.

        Raises:
            ParameterError: It would.
        """
        del material
        check_sizes(architecture.image_shape, architecture.filters)

    def fit_beside(self, autoencoder: ConvAutoencoder, material: Material) -> Self:
        """Learn how pixels follow from their neighbors, and how latents become codes.

        Args:
            autoencoder: The fitted estimator.
            material: What to learn from: its pictures if it has any, else its images.

        Raises:
            DataError: There are no pictures.
        """
        images = material.images
        if material.pictures is None:
            most = max(1, MOST_BYTES // images.images[0].size)
            order = np.random.default_rng(self.seed).permutation(len(images))[:most]
            integers = _as_integers(images[np.sort(order)])
            tiles, bits = Tiles.of(to_planes(integers)), 8 * integers.itemsize
        else:
            tiles, bits = collect_tiles(material.pictures, MOST_BYTES, self.seed)
        self.autoencoder_ = autoencoder
        self.contexts_, self.trials_ = fit_contexts(tiles, bits, self.seed, material.progress)
        self.latents_ = fit_latent_codes(autoencoder, images, self.seed)
        return self

    def describe(self) -> Result:
        """How the channels of images are coded, and why."""
        contexts = self.contexts_
        figures = {
            "bits": contexts.bits,
            "channels": contexts.channels,
            "by_distance": contexts.by_distance,
            "trials": [list(costs) for costs in self.trials_],
        }
        kind = f"{contexts.channels} channels" if contexts.channels > 1 else "1 channel"
        lines = [f"for `convae compress`: images of {kind} with {contexts.bits} bits"]
        for plane, (by_value, by_distance) in enumerate(self.trials_):
            what = f"channel {plane}"
            if contexts.bits == 16:
                what = f"{'low' if plane % 2 else 'high'} bytes of channel {plane // 2}"
            how = "by distance" if plane in contexts.by_distance else "by value"
            lines.append(
                f"  {what} {how} ({by_value:.2f} bits per byte by value and {by_distance:.2f} "
                f"by distance on held-out images, in a short training)"
            )
        return Result(figures, lines)

    @classmethod
    def from_job(cls, job: FittedJob, autoencoder: ConvAutoencoder, origin: str) -> Self:
        """A fitted codec from what `to_job` gave, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        codec = cls(autoencoder)
        codec.autoencoder_ = autoencoder
        architecture = autoencoder.architecture_
        codec.contexts_, codec.latents_ = from_job(job, architecture, origin)
        return codec

    def _check_fitted(self) -> None:
        check_is_fitted(self, "contexts_")


def _as_integers(images: NDArray[Any]) -> NDArray[Any]:
    """Images to learn from as the integers they came from: 16 bits where gray floats need them."""
    if images.dtype == np.uint8:
        return images
    eight = to_uint8(images)
    if images.shape[3] > 1 or np.array_equal(to_float(eight), images):
        return eight
    return np.rint(images.astype(np.float64) * np.iinfo(np.uint16).max).astype(np.uint16)
