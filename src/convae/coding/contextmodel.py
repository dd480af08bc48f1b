"""All that decoding needs of a fitted codec: context networks, kept in a model file or an archive.

It knows neither Keras nor the autoencoder: decoding needs only NumPy.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.checks import whole_number
from convae.coding.contexts import (
    LARGEST_HIDDEN,
    MOST_PLANES,
    NUM_EXPONENTIALS,
    ContextNetwork,
    table_shapes,
)
from convae.coding.packing import digest, pack, unpack
from convae.errors import ParameterError
from convae.storage.modelfile import FittedJob, reading_job

_EXPONENTIALS = "exponentials"

Tables = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ContextModel:
    """The context networks of images of one kind.

    Args:
        networks: One for each plane, all with the same number of hidden units.
        bits: Of a value: 8, or 16, whose high byte is one plane and its low byte the next.
    """

    networks: tuple[ContextNetwork, ...]
    bits: int

    @property
    def channels(self) -> int:
        """Values of a pixel."""
        return len(self.networks) // (self.bits // 8)

    @property
    def num_hidden(self) -> int:
        """Hidden units of a network."""
        return int(self.networks[0].tables["hidden"].shape[0])

    @property
    def by_distance(self) -> list[int]:
        """The planes whose networks are ones of distances."""
        return [plane for plane, network in enumerate(self.networks) if network.by_distance]

    @property
    def identity(self) -> bytes:
        """What names this model in an archive: the SHA-256 of all that it decodes by."""
        return digest(self._numbers(), self._tables())

    @classmethod
    def of(
        cls,
        tables: list[Tables],
        exponentials: NDArray[np.int32],
        bits: int,
        by_distance: Collection[int] = (),
    ) -> Self:
        """A model of tables.

        Args:
            tables: Those of each plane, as `convae.coding.contexts.table_shapes` says.
            exponentials: As the function of that name gives them.
            bits: 8 or 16.
            by_distance: The planes whose networks are ones of distances.

        Raises:
            ParameterError: A table is of another kind, or there are too few or too many planes.
        """
        count = len(tables)
        if not 1 <= count <= MOST_PLANES or bits not in (8, 16) or count % (bits // 8):
            raise ParameterError(
                f"A codec must have 1 to {MOST_PLANES} planes of bytes, of values with 8 or 16 "
                f"bits; received {count} planes and {bits} bits."
            )
        networks = tuple(
            ContextNetwork(plane, count, found, exponentials, plane in by_distance, bits)
            for plane, found in enumerate(tables)
        )
        if len({network.tables["hidden"].shape for network in networks}) > 1:
            raise ParameterError(
                "All networks of a codec must have the same number of hidden units."
            )
        return cls(networks, bits)

    def to_job(self) -> FittedJob:
        """What the model file keeps."""
        settings = {
            "bits": self.bits,
            "planes": len(self.networks),
            "by_distance": self.by_distance,
        }
        return FittedJob(settings, self._tables())

    @classmethod
    def from_job(cls, job: FittedJob, origin: str) -> Self:
        """The inverse of `to_job`, for an untrusted file.

        Args:
            job: What `convae.storage.modelfile.read_model` returned.
            origin: What the message calls the file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        with reading_job(origin):
            by_distance = job.settings.get("by_distance")
            if set(job.settings) != {"bits", "planes", "by_distance"} or not isinstance(
                by_distance, list
            ):
                raise ParameterError(
                    f"A codec must have bits, planes and by_distance, a list; received "
                    f"{job.settings!r:.80}."
                )
            bits = whole_number(job.settings["bits"], "bits", 8, 16)
            planes = whole_number(job.settings["planes"], "planes", 1, MOST_PLANES)
            chosen = [whole_number(plane, "by_distance", 0, planes - 1) for plane in by_distance]
            return cls._from_tables(job.tables, bits, planes, chosen)

    def pack(self) -> bytes:
        """The model as few bytes, to go with an archive that needs no model file."""
        return pack(self._numbers(), self._tables())

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The inverse of `pack`, for untrusted bytes.

        Raises:
            ParameterError: They are damaged or hostile.
        """
        tables = unpack(data, _packed_kinds)
        bits, planes, _, flags = (int(number) for number in tables.pop("head"))
        if flags >> planes:
            raise ParameterError(
                f"by_distance must name planes below {planes}; received flags {flags:#x}."
            )
        by_distance = [plane for plane in range(planes) if flags >> plane & 1]
        return cls._from_tables(tables, bits, planes, by_distance)

    @classmethod
    def _from_tables(
        cls, named: Tables, bits: int, planes: int, by_distance: Collection[int]
    ) -> Self:
        """The inverse of `_tables`."""
        tables: list[Tables] = [{} for _ in range(planes)]
        for name, table in named.items():
            number, _, kind = name.partition("/")
            if name == _EXPONENTIALS:
                continue
            if number not in map(str, range(planes)):
                raise ParameterError(f"A codec of {planes} planes has no table {name!r:.80}.")
            tables[int(number)][kind] = table
        exponentials = named.get(_EXPONENTIALS, np.empty(0, np.int32))
        return cls.of(tables, exponentials, bits, by_distance)

    def _numbers(self) -> tuple[int, int, int, int]:
        flags = sum(1 << plane for plane in self.by_distance)
        return self.bits, len(self.networks), self.num_hidden, flags

    def _tables(self) -> Tables:
        """All tables by name, in a fixed order."""
        named: Tables = {_EXPONENTIALS: self.networks[0].exponentials}
        for name in _kinds(len(self.networks), self.num_hidden):
            number, _, kind = name.partition("/")
            if name != _EXPONENTIALS:
                named[name] = self.networks[int(number)].tables[kind]
        return named


def _kinds(planes: int, hidden: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    kinds: dict[str, tuple[type, tuple[int, ...]]] = {
        _EXPONENTIALS: (np.int32, (NUM_EXPONENTIALS,))
    }
    for plane in range(planes):
        for name, kind in table_shapes(plane, planes, hidden).items():
            kinds[f"{plane}/{name}"] = kind
    return kinds


def _packed_kinds(numbers: list[int]) -> dict[str, tuple[type, tuple[int, ...]]]:
    if len(numbers) != 4 or not 1 <= numbers[1] <= MOST_PLANES or numbers[2] > LARGEST_HIDDEN:
        raise ParameterError(
            f"A packed codec must have bits, 1 to {MOST_PLANES} planes, at most {LARGEST_HIDDEN} "
            f"hidden units, and flags of planes; received {numbers!r:.80}."
        )
    return _kinds(numbers[1], numbers[2])
