"""Read one untrusted JSON object. It does not know what the keys mean."""

import json
import math
from typing import Any

from convae.errors import ModelFileError

DEEPEST = 32
LONGEST_INTEGER = 20  # characters: enough for every 64-bit number
LONGEST_REAL = 64


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object more strictly than Python does.

    Args:
        raw: UTF-8 text that begins with a brace; the caller bounds its length.
        what: How an error calls the text.

    Returns:
        The object: every key once, every number finite and of at most 20 (an integer) or 64
        characters, all text encodable, at most 32 levels deep.

    Raises:
        ModelFileError: A rule is broken; the caller adds the path and the remedy.
    """
    rule = f"{what} must be one UTF-8 JSON object, every key once, every number finite and short"
    if raw[:1] != b"{":
        raise ModelFileError(f"{rule}; received text that begins with {raw[:8]!r}")
    try:
        parsed: dict[str, Any] = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_real,
        )
        # Half a surrogate pair is no text: it could be neither written nor printed.
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{rule}; received '{error}'") from error
    depth = _depth(parsed)
    if depth > DEEPEST:
        raise ModelFileError(f"{what} must nest at most {DEEPEST} levels; received {depth}")
    return parsed


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key that occurs twice")
    return dict(pairs)


def _constant(name: str) -> object:
    raise ValueError(f"the constant {name}")


def _integer(digits: str) -> int:
    # Python itself refuses from 4,300 digits on, and before that takes quadratic time.
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits)} characters")
    return int(digits)


def _real(digits: str) -> float:
    if len(digits) > LONGEST_REAL:
        raise ValueError(f"a number of {len(digits)} characters")
    if not math.isfinite(float(digits)):
        raise ValueError(f"{digits}, which is beyond every 64-bit number")
    return float(digits)


def _depth(document: dict[str, Any]) -> int:
    depth = 0
    level: list[Any] = [document]
    while level:
        depth += 1
        rows = [value.values() if isinstance(value, dict) else value for value in level]
        level = [child for row in rows for child in row if isinstance(child, (dict, list))]
    return depth
