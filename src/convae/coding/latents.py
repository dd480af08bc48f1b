"""Images as a few integers each: latents, rounded, and the decoder that makes pixels of them.

It knows neither Keras nor the autoencoder: decoding needs only NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import LARGEST_SIDE, SMALLEST_SIDE
from convae.checks import whole_number
from convae.coding.decoder import LARGEST_CODE, IntegerDecoder, table_shapes
from convae.coding.packing import digest, pack, unpack
from convae.coding.rans import TOTAL, Decoder, encode
from convae.coding.threads import Run
from convae.errors import ParameterError
from convae.storage.modelfile import FittedJob, reading_job
from convae.storage.tables import Table, check_tables

NUM_VALUES = 2 * LARGEST_CODE + 1
# Weight of the neighbors' values beside a value's own count, and how far they reach in deviations.
PRIOR, SMOOTHING = 0.2, 0.1
# Far beyond what fitting gives.
LARGEST_REAL = 1e18
# Codes of the images of a block, of which each takes 8 bytes.
MOST_CODES = 1 << 24
_BOUNDS, _ANALYSIS, _MEAN = "bounds", "analysis", "mean"

Codes = NDArray[np.int64]
Tables = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LatentModel:
    """How latents become codes, how codes become bytes, and how codes become pixels.

    Args:
        decoder: From codes to pixels.
        bounds: int32 `(num_codes, 128)`: for each code the starts of its values in 65,536.
        analysis: float32 `(latent_dim, num_codes)`: from latents, their mean taken away, to codes
            before rounding. It is not needed to decode.
        mean: float32 `(latent_dim,)`.

    Raises:
        ParameterError: A table is of another kind.
    """

    decoder: IntegerDecoder
    bounds: NDArray[np.int32]
    analysis: NDArray[np.float32]
    mean: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = self.decoder.num_codes
        tables = {_BOUNDS: self.bounds, _ANALYSIS: self.analysis, _MEAN: self.mean}
        declared = {
            _BOUNDS: Table(np.int32, (count, NUM_VALUES + 1), 0, TOTAL),
            _MEAN: Table(np.float32, ("latents",), -LARGEST_REAL, LARGEST_REAL),
            _ANALYSIS: Table(np.float32, ("latents", count), -LARGEST_REAL, LARGEST_REAL),
        }
        # What only decodes has no mean.
        check_tables(tables, declared, "The tables of codes", {"latents": self.mean.size})
        rising = (np.diff(self.bounds, axis=1) >= 1).all()
        if not rising or (self.bounds[:, 0] != 0).any() or (self.bounds[:, -1] != TOTAL).any():
            raise ParameterError(f"bounds must rise from 0 to {TOTAL:,}, strictly.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.decoder.shape

    @property
    def identity(self) -> bytes:
        """What names this model in an archive: the SHA-256 of all that it decodes by."""
        return digest(self._numbers(), self._decoding())

    def codes(self, latents: NDArray[np.float32]) -> Codes:
        """The nearest codes of latents.

        Args:
            latents: float32 `(num_images, latent_dim)`.

        Returns:
            int64 `(num_images, num_codes)`, from -63 to 63.

        Raises:
            ParameterError: Latents are too large to be coded.
        """
        exact = (latents - self.mean) @ self.analysis
        if not np.isfinite(exact).all():
            raise ParameterError(
                "Latents must be near those that the codec was fitted on; received some that are "
                "too large to be coded. Fit the model again."
            )
        return np.clip(np.rint(exact), -LARGEST_CODE, LARGEST_CODE).astype(np.int64)

    def encode(self, codes: Codes, num_lanes: int, num_streams: int = 1) -> list[bytes]:
        """The bytes of codes, shared out over streams of as many images each."""
        groups = []
        for index, bounds in enumerate(self.bounds):
            values = codes[:, index].reshape(num_streams, -1) + LARGEST_CODE
            starts = bounds[values].astype(np.int64)
            groups.append((starts, bounds[values + 1] - starts))
        return encode(groups, num_lanes, num_streams)

    def decode(
        self, streams: Sequence[bytes], num_images: int, num_lanes: int, run: Run = map
    ) -> NDArray[np.uint8]:
        """The images of streams.

        Args:
            streams: What `encode` returned.
            num_images: Of each stream.
            num_lanes: As given to it.
            run: As in `IntegerDecoder.decode`.

        Returns:
            uint8 `(num_streams * num_images, height, width, channels)`.

        Raises:
            ParameterError: A stream is damaged in a way that shows.
        """
        self.check_codes(num_images)
        together = max(1, MOST_CODES // (num_images * self.decoder.num_codes))
        groups = [streams[first : first + together] for first in range(0, len(streams), together)]
        return np.concatenate(
            [
                self.decoder.decode(self._decoded(group, num_images, num_lanes), run)
                for group in groups
            ]
        )

    def _decoded(self, streams: Sequence[bytes], num_images: int, num_lanes: int) -> Codes:
        decoder = Decoder(streams, num_lanes)
        codes = [decoder.decode_alike(bounds, num_images).ravel() for bounds in self.bounds]
        decoder.finish()
        return np.stack(codes, axis=1) - LARGEST_CODE

    def check_codes(self, num_images: int) -> None:
        """Refuse a block of so many images if they have too many codes.

        Raises:
            ParameterError: They have.
        """
        num_codes = num_images * self.decoder.num_codes
        if num_codes > MOST_CODES:
            raise ParameterError(
                f"A block of latents must have at most {MOST_CODES:,} codes; received "
                f"{num_codes:,}. Put fewer images in a block."
            )

    def to_job(self) -> FittedJob:
        """What the model file keeps."""
        tables = {**self._decoding(), _ANALYSIS: self.analysis, _MEAN: self.mean}
        return FittedJob({"shape": list(self.shape)}, tables)

    @classmethod
    def from_job(cls, job: FittedJob, origin: str) -> Self:
        """The inverse of `to_job`, for an untrusted file.

        Args:
            job: What `convae.storage.modelfile.read_model` returned; every number is finite.
            origin: What the message calls the file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        with reading_job(origin):
            sides = job.settings.get("shape")
            if set(job.settings) != {"shape"} or not isinstance(sides, list) or len(sides) != 3:
                raise ParameterError(
                    f"Codes of latents must have a shape of three numbers; received "
                    f"{job.settings!r:.80}."
                )
            height = whole_number(sides[0], "height", SMALLEST_SIDE, LARGEST_SIDE)
            width = whole_number(sides[1], "width", SMALLEST_SIDE, LARGEST_SIDE)
            channels = whole_number(sides[2], "channels", 1, 4)
            tables = dict(job.tables)
            missing = {_BOUNDS, _ANALYSIS, _MEAN} - set(tables)
            if missing:
                raise ParameterError(f"Codes of latents must have {sorted(missing)}.")
            bounds, analysis, mean = (tables.pop(name) for name in (_BOUNDS, _ANALYSIS, _MEAN))
            return cls(IntegerDecoder((height, width, channels), tables), bounds, analysis, mean)

    def pack(self) -> bytes:
        """What decoding needs, as few bytes."""
        return pack(self._numbers(), self._decoding())

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The inverse of `pack`, for untrusted bytes; it cannot encode.

        Raises:
            ParameterError: They are damaged or hostile.
        """
        tables = unpack(data, _packed_kinds)
        shape = tuple(int(side) for side in tables.pop("head")[:3])
        bounds = tables.pop(_BOUNDS)
        decoder = IntegerDecoder((shape[0], shape[1], shape[2]), tables)
        nothing = np.zeros((0, decoder.num_codes), np.float32)
        return cls(decoder, bounds, nothing, np.zeros(0, np.float32))

    def _numbers(self) -> tuple[int, ...]:
        return *self.shape, self.decoder.num_codes, *self.decoder.filters

    def _decoding(self) -> Tables:
        names = table_shapes(self.shape, self.decoder.filters, self.decoder.num_codes)
        return {**{name: self.decoder.tables[name] for name in names}, _BOUNDS: self.bounds}


def _packed_kinds(head: list[int]) -> dict[str, tuple[type, tuple[int, ...]]]:
    if len(head) < 5 or not all(side >= SMALLEST_SIDE for side in head[:2]) or head[2] > 4:
        raise ParameterError(f"A packed decoder must have a shape; received {head}.")
    kinds = table_shapes((head[0], head[1], head[2]), tuple(head[4:]), head[3])
    return {**kinds, _BOUNDS: (np.int32, (head[3], NUM_VALUES + 1))}


def bounds_of(codes: Codes) -> NDArray[np.int32]:
    """Bounds by how often each value comes, of values that may come too.

    Args:
        codes: int64 `(num_images, num_codes)`, from -63 to 63.

    Returns:
        int32 `(num_codes, 128)`, each row from 0 to 65,536, rising.
    """
    values = np.arange(-LARGEST_CODE, LARGEST_CODE + 1)
    rows = []
    for column in codes.T:
        counts = np.bincount(column + LARGEST_CODE, minlength=NUM_VALUES).astype(np.float64)
        # Few images leave gaps: each one also speaks for values around its own.
        spread = max(1.0, column.std())
        near = np.exp(-np.abs(values[:, np.newaxis] - values) / (SMOOTHING * spread))
        counts += PRIOR * (counts @ near) / near.sum(axis=1) + PRIOR / NUM_VALUES
        shares = counts.cumsum() / counts.sum()
        rising = np.floor(shares * (TOTAL - NUM_VALUES)) + np.arange(1, NUM_VALUES + 1)
        rising[-1] = TOTAL
        rows.append(np.concatenate([[0], rising]).astype(np.int32))
    return np.stack(rows)
