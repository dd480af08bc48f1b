"""Size on disk of the default install, in a fresh environment, and the packages it brings.

    python benchmarks/install_size.py            # about a minute; needs a package index
    python benchmarks/install_size.py --quick    # of the environment that runs this instead

MB are 10^6 bytes of the files that the packages list, pip's and setuptools' not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from results import print_table, write_result

ROOT = Path(__file__).parent.parent
NOT_OURS = ("pip", "setuptools")
LIST = """
import importlib.metadata, json
print(json.dumps({
    package.name: sum(
        path.stat().st_size
        for path in map(package.locate_file, package.files or [])
        if path.is_file()
    )
    for package in importlib.metadata.distributions()
}))
"""


def package_sizes(python: str) -> dict[str, int]:
    """Bytes of each package of an environment."""
    listed = subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True)
    sizes: dict[str, int] = json.loads(listed.stdout)
    return {name: size for name, size in sizes.items() if name not in NOT_OURS}


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no install; writes no result")
    quick = parser.parse_args().quick
    if quick:
        sizes = package_sizes(sys.executable)
    else:
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            python = str(Path(folder) / "bin" / "python")
            command = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", str(ROOT)]
            subprocess.run(command, check=True)
            sizes = package_sizes(python)
    rows = [
        {"package": name, "mb": round(size / 1e6, 1)}
        for name, size in sorted(sizes.items(), key=lambda item: -item[1])
    ]
    print_table(rows)
    total = round(sum(sizes.values()) / 1e6)
    print(f"{len(sizes)} packages, {total} MB")
    if not quick:
        write_result("install_size", {"mb": total, "packages": len(sizes)}, rows, [])


if __name__ == "__main__":
    main()
