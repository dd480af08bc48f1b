"""What a fitted denoiser does: images of any size without their noise; NumPy alone."""

import itertools
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.architecture.network import Network
from convae.errors import ModelFileError
from convae.images.contract import as_images, to_float
from convae.jobs.denoise.arrays import ArrayOperations
from convae.jobs.denoise.level import noise_deviation
from convae.jobs.denoise.stored import TrainedUNet
from convae.storage.modelfile import FittedJob

Floats = NDArray[np.float32]

# Numbers between two layers of what is computed at a time.
MOST_NUMBERS = 2**22
# Sides of the tiles of a large image, in pixels; margins come on top.
SMALLEST_TILE, LARGEST_TILE = 64, 512
GRAY, COLOR = 1, 3
WITH_ALPHA = (2, 4)


class AppliedDenoiser(ABC):
    """The methods that `FittedDenoiser` and the estimator `Denoiser` share."""

    trained_: TrainedUNet

    def _check_fitted(self) -> None:  # noqa: B027 # what a file holds was fitted
        """Refuse an estimator that has not been fitted yet."""

    def denoise(self, X: ArrayLike) -> Floats:
        """Images without their noise.

        Args:
            X: Images of one size, which may be any: uint8, or floats in [0, 1];
                `(num_images, height, width)`, or with 1, 3 or 4 channels at the end. They need not
                have the channels fitted on: a denoiser of gray images takes the channels of a
                color one by one, and one of color takes a gray image for a color. Alpha stays as
                it is, unless it was fitted on.

        Returns:
            float32 in [0, 1], with the shape of X.

        Raises:
            ImageError: X breaks the image contract.
            ModelFileError: The weights of the file overflow.
        """
        self._check_fitted()
        found: Floats = self._denoised(as_images(X)).reshape(np.shape(X))
        return found

    def denoise_picture(self, picture: NDArray[Any]) -> NDArray[Any]:
        """One picture without its noise, in the type that it came in.

        Args:
            picture: uint8 or uint16 `(height, width, channels)`, 1 to 4 channels, of any size; of
                two or four the last one is alpha, unless four were fitted on.

        Returns:
            The same type and shape.

        Raises:
            ModelFileError: The weights of the file overflow.
        """
        self._check_fitted()
        white = np.float32(np.iinfo(picture.dtype).max)
        found = self._denoised(_as_floats(picture)[np.newaxis])[0]
        rounded: NDArray[Any] = np.rint(found * white).astype(picture.dtype)
        return rounded

    def noise_levels(self, X: ArrayLike) -> NDArray[np.float64]:
        """How strong the noise of each image is, taken for gaussian noise that was clipped.

        Args:
            X: As in `denoise`.

        Returns:
            The standard deviation of values in [0, 1], float64 `(num_images,)`.

        Raises:
            ImageError: As `denoise`.
            ModelFileError: As `denoise`.
        """
        self._check_fitted()
        images = as_images(X)
        pairs = zip(images, self._denoised(images), strict=True)
        return np.array([self.noise_level(noisy, clean) for noisy, clean in pairs])

    def noise_level(self, noisy: NDArray[Any], clean: NDArray[Any]) -> float:
        """The same for one image, from what was made of it.

        Args:
            noisy: uint8, uint16, or floats in [0, 1].
            clean: What `denoise` or `denoise_picture` gave for it.
        """
        self._check_fitted()
        return noise_deviation(_as_floats(noisy), _as_floats(clean), self.trained_.errors)

    def _denoised(self, images: NDArray[Any]) -> Floats:
        """Images of any size and number of channels, uint8 or float32."""
        count, height, width, channels = images.shape
        own = self.trained_.plan.inputs
        found = np.empty(images.shape, np.float32)
        volume = max(height * width * channels, self._volume(height, width))
        most = max(1, MOST_NUMBERS // volume)
        for start in range(0, count, most):
            part = to_float(images[start : start + most])
            num_kept = int(channels in WITH_ALPHA and channels != own)
            colors, kept = np.split(part, [channels - num_kept], axis=3)
            if own == GRAY:
                planes = np.moveaxis(colors, 3, 0).reshape(-1, height, width, 1)
                restored = self._restored(planes).reshape(-1, *colors.shape[:3])
                restored = np.moveaxis(restored, 0, 3)
            else:
                restored = self._restored(_with_channels(colors, own))
                if colors.shape[3] == GRAY:
                    restored = restored[..., :COLOR].mean(axis=3, keepdims=True)
                restored = restored[..., : colors.shape[3]]
            found[start : start + most] = np.concatenate([restored, kept], axis=3)
        return found

    def _volume(self, height: int, width: int) -> int:
        """Numbers between two layers for an image, with those that a convolution gathers."""
        widths = self.trained_.plan.widths
        largest = max(count / 4 ** (level + 1) for level, count in enumerate(widths))
        return int(3 * largest * height * width)

    def _restored(self, images: Floats) -> Floats:
        """Images with the channels fitted on; tile by tile, if they are large."""
        plan = self.trained_.plan
        _, height, width, _ = images.shape
        extra = [(0, 0), *((0, -side % plan.stride) for side in (height, width)), (0, 0)]
        padded = np.pad(images, extra, mode="edge")
        margin = plan.reach + -plan.reach % plan.stride
        side = LARGEST_TILE
        while side > SMALLEST_TILE and self._volume(side + 2 * margin, side) > MOST_NUMBERS:
            side //= 2
        found = np.empty(padded.shape, np.float32)
        rows, columns = (list(_tiles(length, side, margin)) for length in padded.shape[1:3])
        for (row, outer_row, inner_row), (column, outer_column, inner_column) in itertools.product(
            rows, columns
        ):
            tile = np.ascontiguousarray(padded[:, outer_row, outer_column])
            with np.errstate(over="ignore", invalid="ignore"):
                noise = plan.compute(tile, self.trained_.weights, ArrayOperations())
            found[:, row, column] = (tile + noise)[:, inner_row, inner_column]
        found = found[:, :height, :width]
        if not np.isfinite(found).all():
            raise ModelFileError(
                "A denoiser must give finite numbers; received weights that gave others. Get the "
                "model again, or train it again."
            )
        return np.clip(found, 0, 1)


@dataclass(frozen=True, eq=False)
class FittedDenoiser(AppliedDenoiser):
    """A denoiser to be used, as a model file has it; it needs NumPy alone.

    Args:
        trained_: The network that takes noise away.
    """

    trained_: TrainedUNet

    @classmethod
    def from_job(cls, job: FittedJob, network: Network, origin: str) -> Self:
        """What a model file keeps, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        return cls(TrainedUNet.from_job(job, network.architecture.channels, origin))


def _as_floats(image: NDArray[Any]) -> Floats:
    if image.dtype == np.uint16:
        return image.astype(np.float32) / np.float32(np.iinfo(np.uint16).max)
    return to_float(image)


def _with_channels(colors: Floats, channels: int) -> Floats:
    """Gray or color as color, opaque where alpha is wanted."""
    if colors.shape[3] == GRAY:
        colors = np.repeat(colors, COLOR, axis=3)
    if colors.shape[3] < channels:
        colors = np.concatenate([colors, np.ones_like(colors[..., :1])], axis=3)
    return colors


def _tiles(length: int, side: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    """Along an axis: where each tile lies, the same with margins, and where it lies in that."""
    for start in range(0, length, side):
        stop = min(start + side, length)
        first = max(0, start - margin)
        yield (
            slice(start, stop),
            slice(first, min(length, stop + margin)),
            slice(start - first, stop - first),
        )
