"""What a fitted codec does with images: pack them into an archive, and open one."""

import os
from abc import ABC
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.architecture.network import Network
from convae.autoencoder.applied import AppliedAutoencoder, TrainedAutoencoder
from convae.checks import whole_number
from convae.coding.archive import ArchiveWriter, ImageArchive, packed
from convae.coding.blocks import (
    IMAGES_OF_LATENTS,
    LARGEST_ERROR,
    LONGEST_NAME,
    Model,
    block_size,
)
from convae.coding.contextmodel import ContextModel
from convae.coding.contexts import MOST_PLANES
from convae.coding.latents import MOST_CODES, LatentModel
from convae.errors import ImageError, ParameterError
from convae.images.memory import chunks
from convae.images.metrics import psnr_db
from convae.jobs.codec.stored import from_job, to_job
from convae.storage.files import open_whole
from convae.storage.modelfile import FittedJob

# Steps that refine the latents of an image before they are rounded.
REFINEMENT_STEPS = 4


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """The result of compressing.

    Args:
        num_images: How many there are in the archive.
        num_bytes: Size of the archive, in total.
        num_raw_bytes: What the pixels take in memory.
        model_bytes: Size of the packed model that decoding needs; `num_bytes` includes it if the
            archive does.
        mse: Mean squared error of the images given, pixels in [0, 1]; 0 if all are exact.
    """

    num_images: int
    num_bytes: int
    num_raw_bytes: int
    model_bytes: int
    mse: float

    def lines(self) -> list[str]:
        """The same in sentences."""
        found = [
            f"{self.num_images:,} images in {self.num_bytes:,} bytes, "
            f"{8 * self.num_bytes / self.num_raw_bytes:.3f} bits per byte"
        ]
        if self.mse:
            found.append(f"MSE {self.mse:.5f} (PSNR {psnr_db(self.mse):.1f} dB)")
        return found


class AppliedCodec(ABC):
    """The methods that `FittedCodec` and the estimator `ImageCodec` share."""

    autoencoder_: AppliedAutoencoder
    contexts_: ContextModel
    latents_: LatentModel

    def _check_fitted(self) -> None:  # noqa: B027 # what a file holds was fitted
        """Refuse an estimator that has not been fitted yet."""

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
    ) -> ArchiveSummary:
        """Write an archive of images, whole or not at all.

        Args:
            images: uint8 or uint16, `(num_images, height, width)` or with 1 to 4 channels at the
                end; or an iterable of pairs of such an array and its names, of any sizes, which
                are held one at a time.
            path: Output path.
            names: One for each image of an array, or none.
            max_error: Largest error of a value, from 0 (lossless) to 127.
            tiny: Keep only a few integers per image; decoding gives the autoencoder's
                reconstruction, in uint8. The images must be like those that it was fitted on.
            refinement_steps: With `tiny`: as in `ConvAutoencoder.transform`.
            with_model: Include what decoding needs in the archive.
            append: Add to an existing archive of this codec with the same tiny; no name may
                repeat. Its coded images are copied as they are.
            model_name: What a message calls the model when it is missing.

        Raises:
            ImageError: The images are of another kind.
            ParameterError: A parameter is outside its range, or a name is in the archive already.
            ModelFileError: The archive to add to is missing, damaged or of another model.
            OutputError: The archive cannot be written.
        """
        self._check_fitted()
        whole_number(max_error, "max_error", 0, LARGEST_ERROR)
        if tiny and max_error:
            raise ParameterError(
                f"tiny must not be combined with max_error; received max_error {max_error}. Leave "
                f"one out."
            )
        batches: Any = images
        if hasattr(images, "__array__") or isinstance(images, list | tuple):
            batches = [(images, names)]
        alone = _only_writer(path) if append else nullcontext()
        with alone, open_whole(path) as stream:
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
        return ArchiveSummary(
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
        """A writer that already holds an archive's images; it adds their names to `names`."""
        with self.open(path) as archive:
            if archive.model.identity != model.identity:
                raise ParameterError(
                    f"Images must be appended with the same tiny setting; received tiny="
                    f"{model is self.latents_} for {archive.name}. Change tiny, or write another "
                    f"archive."
                )
            writer = ArchiveWriter(stream, model, model_name, with_model or archive.with_model)
            for picture, blocks in archive.parts():
                if picture is not None:
                    writer.add_picture(picture, picture.checked(blocks))
                    names.update(picture.names)
                    continue
                for block in blocks:
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
        most = min(IMAGES_OF_LATENTS, max(1, MOST_CODES // codes.shape[1]))
        size = block_size(len(codes), most)
        for first in range(0, len(codes), size):
            part = slice(first, first + size)
            error += _squared_error(writer.add_codes(codes[part], names[part]), checked[part])
        return error

    def open(self, path: str | os.PathLike[str]) -> ImageArchive:
        """The images of an archive that this codec wrote, to be decoded when asked for.

        Raises:
            ModelFileError: The file is missing, damaged or hostile, or another model coded it.
        """
        self._check_fitted()
        return ImageArchive(path, [self.contexts_, self.latents_])

    def to_job(self) -> FittedJob:
        """What the model file keeps of the codec, beside the network."""
        self._check_fitted()
        return to_job(self.contexts_, self.latents_)


class FittedCodec(AppliedCodec):
    """A codec to be used, as a model file has it.

    Args:
        autoencoder: What gives the latents of images, for tiny archives.
        contexts: What codes pixels.
        latents: What codes latents.
    """

    def __init__(
        self, autoencoder: AppliedAutoencoder, contexts: ContextModel, latents: LatentModel
    ) -> None:
        self.autoencoder_ = autoencoder
        self.contexts_, self.latents_ = contexts, latents

    @classmethod
    def from_job(cls, job: FittedJob, network: Network, origin: str) -> Self:
        """The inverse of `to_job`, for an untrusted file.

        Args:
            job: What `convae.storage.modelfile.read_model` returned; every number is finite.
            network: The network of the same file.
            origin: What the message calls the file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        models = from_job(job, network.architecture, origin)
        return cls(TrainedAutoencoder(network, channel_axis=True), *models)


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
    error = 0.0
    for some in zip(_some_rows(found), _some_rows(given), strict=True):
        pixels = [part.astype(np.float64) / largest.get(part.dtype, 1.0) for part in some]
        error += float(np.square(pixels[0] - pixels[1]).sum())
    return error


def _check_names(names: Sequence[str], images: ArrayLike, taken: set[str]) -> None:
    count = len(np.asanyarray(images))
    if len(names) not in (0, count):
        raise ParameterError(
            f"There must be as many names as images; received {len(names)} for {count}. Pass one "
            f"for each, or none."
        )
    for name in names:
        if not name or "\0" in name or len(name) > LONGEST_NAME or not _is_text(name):
            raise ParameterError(
                f"An image's name must have 1 to {LONGEST_NAME:,} characters, none of them 0; "
                f"received {name!r:.100}. Rename it."
            )
        if name in taken:
            raise ParameterError(
                f"Each name must occur once in an archive; received {name!r:.100} again. Rename "
                f"it, or write another archive."
            )


def _only_writer(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    # Reading archives needs no locks, and is quicker without them.
    from convae.storage.exclusive import only_writer

    return only_writer(path)


def _is_text(name: str) -> bool:
    """Whether a name is Unicode, but for bytes of a file's name that are none."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _within(images: NDArray[Any], max_error: int) -> NDArray[Any]:
    """The nearest multiples of the step, or the largest value; at most `max_error` away."""
    step = 2 * max_error + 1
    if step == 1:
        return images
    found = np.empty(images.shape, images.dtype)
    for part, given in zip(_some_rows(found), _some_rows(images), strict=True):
        nearest = (given.astype(np.int32) + max_error) // step * step
        part[...] = np.minimum(nearest, np.iinfo(images.dtype).max)
    return found


def _some_rows(images: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of some images at a time, or of some rows of one, which take little memory."""
    for part in chunks(images):
        some = images[part]
        yield from (some[:, rows] for rows in chunks(some[0])) if len(some) == 1 else [some]
