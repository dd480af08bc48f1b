"""Where the data sets lie that benchmarks need and nobody can download."""

import os
from pathlib import Path


def data_path(name: str) -> Path:
    """A file or folder of the one that CONVAE_DATA names.

    Raises:
        SystemExit: It is not there.
    """
    path = Path(os.environ.get("CONVAE_DATA", ".")) / name
    if not path.exists():
        raise SystemExit(f"Set CONVAE_DATA to a folder with {name}; {path} is missing.")
    return path
