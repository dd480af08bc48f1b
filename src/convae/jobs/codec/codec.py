"""`ImageCodec`: images as small files and back, with what one model learned of their kind."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from convae.autoencoder.estimator import ConvAutoencoder
from convae.checks import whole_number
from convae.coding.archive import ArchiveWriter, ImageArchive, coding_models, packed
from convae.coding.blocks import (
    IMAGES_OF_LATENTS,
    LARGEST_ERROR,
    LONGEST_NAME,
    Model,
    block_size,
    to_planes,
)
from convae.coding.contextmodel import CONTEXTS_JOB
from convae.coding.contexts import MOST_PLANES
from convae.coding.latents import LATENTS_JOB
from convae.coding.tiles import Tiles
from convae.errors import ImageError, ParameterError
from convae.images import to_float, to_uint8
from convae.jobs.codec.latents import REFINEMENT_STEPS, fit_latent_codes
from convae.storage.files import open_whole
from convae.storage.modelfile import FittedJob, ModelContents, read_model, write_model

if TYPE_CHECKING:
    from convae.nn.train import Observer

# So many bytes are learned from at most, of images drawn at random.
MOST_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Report:
    """What compressing came to.

    Args:
        num_images: How many there are in the archive.
        num_bytes: Size of the archive, all told.
        num_raw_bytes: What the pixels take in memory.
        model_bytes: What the model that decoding needs takes, packed; it is in `num_bytes` where
            it lies in the archive.
        mse: Mean squared error of the images given, pixels in [0, 1]; 0 where every one is exact.
    """

    num_images: int
    num_bytes: int
    num_raw_bytes: int
    model_bytes: int
    mse: float


class ImageCodec(BaseEstimator):  # type: ignore[misc] # scikit-learn is untyped
    """Learns how the pixels of images of one kind follow from their neighbors, and codes them.

    Any image can be coded: the size does not matter, and one that is unlike those learned from
    takes more bytes. What decoding sums is exact, so every machine gives the same pixels.

    Args:
        autoencoder: The estimator whose file the codec is kept in. One that is fitted is used as
            it is; otherwise a clone is fitted. None takes `ConvAutoencoder()`.
        seed: Decides what is drawn to learn from.

    Attributes:
        autoencoder_: The fitted `ConvAutoencoder`.
        contexts_: What codes pixels (`convae.coding.contextmodel.ContextModel`).
        latents_: What codes latents (`convae.coding.latents.LatentModel`).
        trials_: Of each plane of bytes, the bits a byte of held-out images after a short training,
            by value and by distance from a prediction: the lower one decided which sort of network
            codes it. `load` does not give them.

    Example:
        >>> from convae import ImageCodec, load_dataset
        >>> digits = load_dataset("digits").train
        >>> codec = ImageCodec().fit(digits)  # doctest: +SKIP
        >>> report = codec.compress(digits, "digits.cae")  # doctest: +SKIP
        >>> with codec.open("digits.cae") as archive:  # doctest: +SKIP
        ...     first = archive[0]
    """

    def __init__(self, autoencoder: ConvAutoencoder | None = None, *, seed: int = 0) -> None:
        self.autoencoder = autoencoder
        self.seed = seed

    def fit(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002 # scikit-learn's signature
        *,
        pictures: Iterable[tuple[NDArray[Any], Sequence[str]]] | None = None,
        checkpoint_path: str | os.PathLike[str] | None = None,
        resume: bool = False,
        observers: "Sequence[Observer]" = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Learn from images.

        Args:
            X: The images, as `ConvAutoencoder` takes them; gray floats that are no bytes are
                learned as 16-bit values.
            y: Ignored; scikit-learn passes it.
            pictures: What to learn pixels from, where it is not X that will be compressed, but
                the pictures that it was made of: as `convae.images.exact_batches` gives them.
                Those of one kind, channels and bits, are learned from: of the one that has the
                most bytes.
            checkpoint_path: As of `ConvAutoencoder.fit`.
            resume: As of `ConvAutoencoder.fit`.
            observers: As of `ConvAutoencoder.fit`.
            progress: Called with the steps done and all steps of learning to code.

        Raises:
            ParameterError: A parameter is outside its range.
            ImageError: X breaks the image contract.
            DataError: There are no pictures.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        """
        from convae.jobs.codec.pixels import collect_tiles, fit_contexts

        autoencoder = ConvAutoencoder() if self.autoencoder is None else self.autoencoder
        if not _is_fitted(autoencoder):
            autoencoder = clone(autoencoder).fit(
                X, checkpoint_path=checkpoint_path, resume=resume, observers=observers
            )
        images = autoencoder.checked(X)
        if pictures is None:
            integers = _as_integers(images[_drawn(images, self.seed)])
            tiles, bits = Tiles.of(to_planes(integers)), 8 * integers.itemsize
        else:
            tiles, bits = collect_tiles(pictures, MOST_BYTES, self.seed)
        self.autoencoder_ = autoencoder
        self.contexts_, self.trials_ = fit_contexts(tiles, bits, self.seed, progress)
        self.latents_ = fit_latent_codes(autoencoder, images, self.seed)
        return self

    def compress(
        self,
        images: ArrayLike | Iterable[tuple[ArrayLike, Sequence[str]]],
        path: str | os.PathLike[str],
        *,
        names: Sequence[str] = (),
        max_error: int = 0,
        tiny: bool = False,
        refinement_steps: int = REFINEMENT_STEPS,
        with_model: bool = False,
        append: bool = False,
        model_name: str = "model",
    ) -> Report:
        """Write an archive of images, whole or not at all.

        Args:
            images: uint8 or uint16, `(num_images, height, width)` or with 1 to 4 channels at the
                end; or an iterable of pairs of such an array and its names, of any sizes, which
                are held one at a time.
            path: Where the archive shall be.
            names: One for each image of an array, or none.
            max_error: How far a value may be off at most, from 0 (lossless) to 127.
            tiny: Keep a few integers of each image alone; what is decoded is the autoencoder's
                reconstruction, in uint8. The images must be as those that it was fitted on.
            refinement_steps: With `tiny`: as of `ConvAutoencoder.transform`.
            with_model: Put what decoding needs into the archive.
            append: Add to the archive that is there, which this codec wrote, tiny or not as now.
                Its coded images are copied as they are; no name may come again.
            model_name: What a message calls the model when it is missing.

        Raises:
            ImageError: The images are of another kind.
            ParameterError: A parameter is outside its range, or a name is in the archive already.
            ModelFileError: The archive to add to is missing, damaged or of another model.
            OutputError: The archive cannot be written.
        """
        check_is_fitted(self, "contexts_")
        whole_number(max_error, "max_error", 0, LARGEST_ERROR)
        if tiny and max_error:
            raise ParameterError(
                f"tiny must go with no bound on the error; received max_error {max_error}. Leave "
                f"one of them out."
            )
        batches: Any = images
        if hasattr(images, "__array__") or isinstance(images, list | tuple):
            batches = [(images, names)]
        with open_whole(path) as stream:
            model = self.latents_ if tiny else self.contexts_
            taken: set[str] = set()
            if append:
                writer = self._continued(path, stream, model, model_name, with_model, taken)
            else:
                writer = ArchiveWriter(stream, model, model_name, with_model)
            values_before, error = writer.num_values, 0.0
            for batch, batch_names in batches:
                _check_names(batch_names, batch, taken)
                if tiny:
                    error += self._add_codes(writer, batch, batch_names, refinement_steps)
                else:
                    pixels = _integers(batch)
                    kept = _within(pixels, max_error)
                    writer.add(kept, batch_names, 2 * max_error + 1)
                    error += _squared_error(kept, pixels) if max_error else 0
            num_bytes = writer.close()
        return Report(
            writer.num_images,
            num_bytes,
            writer.num_raw_bytes,
            len(packed(model)),
            error / max(1, writer.num_values - values_before),
        )

    def _continued(
        self,
        path: str | os.PathLike[str],
        stream: BinaryIO,
        model: Model,
        model_name: str,
        with_model: bool,
        names: set[str],
    ) -> ArchiveWriter:
        """A writer that has the images of an archive behind it; it adds their names to `names`."""
        with self.open(path) as archive:
            if archive.model.identity != model.identity:
                raise ParameterError(
                    f"An archive must be continued as it was begun; received tiny="
                    f"{model is self.latents_} for {archive.name}. Change tiny, or write another "
                    f"archive."
                )
            writer = ArchiveWriter(stream, model, model_name, with_model or archive.with_model)
            for block in archive.blocks():
                writer.add_blocks([block])
                names.update(block.names)
        return writer

    def _add_codes(
        self, writer: ArchiveWriter, images: ArrayLike, names: Sequence[str], steps: int
    ) -> float:
        """Write images by their latents; the sum of squared errors, of pixels in [0, 1]."""
        checked = self.autoencoder_.checked(images)
        codes = self.latents_.codes(self.autoencoder_.transform(checked, refinement_steps=steps))
        error = 0.0
        size = block_size(len(codes), IMAGES_OF_LATENTS)
        for first in range(0, len(codes), size):
            part = slice(first, first + size)
            error += _squared_error(writer.add_codes(codes[part], names[part]), checked[part])
        return error

    def open(self, path: str | os.PathLike[str]) -> ImageArchive:
        """The images of an archive that this codec wrote, to be decoded when asked for.

        Raises:
            ModelFileError: The file is missing, damaged or hostile, or another model coded it.
        """
        check_is_fitted(self, "contexts_")
        return ImageArchive(path, [self.contexts_, self.latents_])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the one model file, whole or not at all; it is the autoencoder's file too.

        Raises:
            OutputError: The file cannot be written.
        """
        write_model(path, self.to_contents())

    def to_contents(self) -> ModelContents:
        """What `save` writes."""
        check_is_fitted(self, "contexts_")
        return self.autoencoder_.to_contents().with_jobs(self.jobs())

    def jobs(self) -> dict[str, FittedJob]:
        """What the file keeps beside the autoencoder, by job."""
        check_is_fitted(self, "contexts_")
        return {CONTEXTS_JOB: self.contexts_.to_job(), LATENTS_JOB: self.latents_.to_job()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file, which may come from a stranger: nothing in it is ever run.

        Raises:
            ModelFileError: The file is missing, damaged, hostile or too new, or has no codec.
        """
        contents = read_model(path)
        autoencoder = ConvAutoencoder.from_contents(contents, str(path))
        codec = cls(autoencoder)
        codec.autoencoder_ = autoencoder
        codec.contexts_, codec.latents_ = coding_models(contents, str(path))
        return codec


def _is_fitted(estimator: ConvAutoencoder) -> bool:
    try:
        check_is_fitted(estimator, "architecture_")
    except NotFittedError:
        return False
    return True


def _drawn(images: NDArray[Any], seed: int) -> NDArray[np.intp] | slice:
    """Which images to learn from: all, unless they are too many."""
    most = max(1, MOST_BYTES // images[0].size)
    if len(images) <= most:
        return slice(None)
    return np.sort(np.random.default_rng(seed).permutation(len(images))[:most])


def _integers(images: ArrayLike) -> NDArray[Any]:
    """Images with a channel axis.

    Raises:
        ImageError: They are neither uint8 nor uint16, or of another shape.
    """
    array = np.asanyarray(images)
    shaped = array[..., np.newaxis] if array.ndim == 3 else array
    fits = shaped.ndim == 4 and 0 not in shaped.shape and shaped.shape[3] <= MOST_PLANES
    if array.dtype not in (np.uint8, np.uint16) or not fits:
        raise ImageError(
            f"Images to compress must be uint8 or uint16 of shape (num_images, height, width) or "
            f"with 1 to 4 channels at the end; received {array.dtype} of shape {array.shape}. "
            f"Convert floats with convae.images.to_uint8."
        )
    return shaped


def _squared_error(found: NDArray[Any], given: NDArray[Any]) -> float:
    """Sum of squared differences of pixels in [0, 1]."""
    largest = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65_535.0}
    pixels = [image.astype(np.float64) / largest.get(image.dtype, 1.0) for image in (found, given)]
    return float(np.square(pixels[0] - pixels[1]).sum())


def _check_names(names: Sequence[str], images: ArrayLike, taken: set[str]) -> None:
    count = len(np.asanyarray(images))
    if len(names) not in (0, count):
        raise ParameterError(
            f"There must be as many names as images; received {len(names)} for {count}. Pass one "
            f"for each, or none."
        )
    for name in names:
        if not name or "\0" in name or len(name) > LONGEST_NAME:
            raise ParameterError(
                f"An image's name must have 1 to {LONGEST_NAME:,} characters, none of them 0; "
                f"received {name!r:.100}. Rename it."
            )
        if name in taken:
            raise ParameterError(
                f"Names must be others than those in the archive; received {name!r:.100} again. "
                f"Rename it, or write another archive."
            )


def _within(images: NDArray[Any], max_error: int) -> NDArray[Any]:
    """The nearest multiples of the step, or the largest value: no further away than `max_error`."""
    step = 2 * max_error + 1
    if step == 1:
        return images
    nearest = (images.astype(np.int64) + max_error) // step * step
    return np.minimum(nearest, np.iinfo(images.dtype).max).astype(images.dtype)


def _as_integers(images: NDArray[Any]) -> NDArray[Any]:
    """Images to learn from as the integers they came from: 16 bits where gray floats need them."""
    if images.dtype == np.uint8:
        return images
    eight = to_uint8(images)
    if images.shape[3] > 1 or np.array_equal(to_float(eight), images):
        return eight
    return np.rint(images.astype(np.float64) * np.iinfo(np.uint16).max).astype(np.uint16)
