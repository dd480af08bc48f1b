"""Numbers and names that come from outside, refused when they are out of bounds."""

from convae.errors import ParameterError


def whole_number(value: object, name: str, low: int, high: int) -> int:
    """`value` as an int from `low` to `high`.

    Raises:
        ParameterError: It is not a whole number, or outside; the message calls it `name`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ParameterError(
            f"{name} must be a whole number from {low} to {high}; received {value!r}. Pass an int."
        )
    number = value.__index__()
    if not low <= number <= high:
        raise ParameterError(
            f"{name} must be from {low} to {high}; received {number}. "
            f"Choose a value inside that range."
        )
    return int(number)


def real_number(value: object, name: str) -> float:
    """`value` as a float.

    Raises:
        ParameterError: It is not a number; the message calls it `name`.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ParameterError(f"{name} must be a number; received {value!r:.80}. Pass a float.")
    return float(value)


def fraction(value: object, name: str, low: float, high: float, *, open_low: bool) -> float:
    """A finite float from `low` (left out when `open_low`) up to, not including, `high`.

    Raises:
        ParameterError: `value` is not a number, or outside; the message calls it `name`.
    """
    number = real_number(value, name)
    if not (low < number < high or (number == low and not open_low)):
        raise ParameterError(
            f"{name} must be {'above' if open_low else 'at least'} {low} and below {high}; "
            f"received {number}. Choose a value inside that range."
        )
    return number


def share(value: object, name: str) -> float:
    """`value` as a float from 0 to 1.

    Raises:
        ParameterError: It is not a number, or outside; the message calls it `name`.
    """
    number = real_number(value, name)
    if not 0 <= number <= 1:
        raise ParameterError(
            f"{name} must be from 0 to 1; received {number}. Choose a value inside that range."
        )
    return number


def one_of(value: object, name: str, names: tuple[str, ...]) -> None:
    """Refuse what is none of `names`.

    Raises:
        ParameterError: The message calls it `name`.
    """
    if value not in names:
        raise ParameterError(
            f"{name} must be one of {', '.join(names)}; received {value!r}. Choose one of them."
        )
