"""The two sorts of coding models, as an archive holds them."""

from convae.coding.blocks import Model
from convae.coding.contextmodel import ContextModel
from convae.coding.latents import LatentModel
from convae.errors import ParameterError

_SORTS: dict[type[Model], bytes] = {ContextModel: b"C", LatentModel: b"L"}


def packed(model: Model) -> bytes:
    """A model as it stands in an archive: a byte for its sort, and its tables."""
    sort = _SORTS[type(model)]
    return sort + model.pack()


def unpacked(data: bytes) -> Model:
    """The inverse of `packed`; the bytes may be hostile.

    Raises:
        ParameterError: They break a rule.
    """
    for kind, sort in _SORTS.items():
        if data[:1] == sort:
            return kind.unpack(data[1:])
    raise ParameterError(f"A packed model must be of a known sort; received {data[:1]!r}.")
