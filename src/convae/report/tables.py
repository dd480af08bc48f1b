"""Tables as CSV."""

import csv
import io
import os
from collections.abc import Sequence


def csv_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A table as CSV; names of files come out byte by byte as they are."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(header)
    for row in rows:
        # A carriage return ends a line for a reader, and yet csv does not quote it by itself.
        returns = any(isinstance(value, str) and "\r" in value for value in row)
        (quoting if returns else plain).writerow(row)
    # A file's name need not be valid Unicode: its bytes come out as they went in.
    return os.fsencode(text.getvalue())
