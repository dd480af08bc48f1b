"""Tables as CSV, which a spreadsheet may open."""

import csv
import io
import os
import re
from collections.abc import Sequence

# What a spreadsheet takes for a formula, and what stands before such a text to make it one.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
_GUARD = "'"


def csv_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A table as CSV; names of files come out byte by byte as they are, but for `guarded`."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(header)
    for row in rows:
        # A carriage return ends a line for a reader, and yet csv does not quote it by itself.
        returns = any(isinstance(value, str) and "\r" in value for value in row)
        (quoting if returns else plain).writerow(
            [guarded(value) if isinstance(value, str) else value for value in row]
        )
    # A file's name need not be valid Unicode: its bytes come out as they went in.
    return os.fsencode(text.getvalue())


def guarded(text: str) -> str:
    """A text with an apostrophe before it, if a spreadsheet could take it for a formula.

    Such texts begin with `=`, `+`, `-`, `@`, a tab or a carriage return and are no numbers. Those
    that begin with apostrophes and then such a sign get one more, so that `unguarded` undoes it.
    """
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return _GUARD + text
    return text


def unguarded(text: str) -> str:
    """The inverse of `guarded`."""
    if text.startswith(_GUARD) and _FORMULA.match(text):
        return text[1:]
    return text
