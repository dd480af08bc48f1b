"""Write a benchmark's result as one JSON file; measuring is each benchmark's own business."""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import convae

FOLDER = Path(__file__).parent / "results"
LIBRARIES = ("jax", "keras", "numpy", "scikit-learn")


def write_result(
    name: str,
    headline: Mapping[str, float],
    rows: Sequence[Mapping[str, object]],
    seeds: Sequence[int],
) -> None:
    """Write `benchmarks/results/<name>.json` and say so.

    Args:
        name: The benchmark.
        headline: Its few figures that the README may quote.
        rows: All measured figures, a mapping for each row of the table.
        seeds: The seeds used.
    """
    document = {
        "name": name,
        "headline": dict(headline),
        "rows": [dict(row) for row in rows],
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
        },
        "versions": {
            "python": platform.python_version(),
            "convae": convae.__version__,
            **{library: importlib.metadata.version(library) for library in LIBRARIES},
        },
        "seeds": list(seeds),
    }
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(FOLDER.parent.parent)}")


def peak_mib() -> float:
    """The most memory that this process had resident.

    Not by `getrusage`, which counts what its parent had when it was started.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) / 1024


def alone(measure: Callable[..., dict[str, Any]], *settings: object) -> dict[str, Any]:
    """A row that a process of its own measures, so that none finds compiled what another did."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *settings).result()


def kept_rows(path: Path | None) -> list[dict[str, Any]]:
    """The rows that an earlier run kept; none where there is no such file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def keep_rows(path: Path | None, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep rows for a run that goes on after this one."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def row_options(description: str | None, part: str, **option: Any) -> argparse.Namespace:  # noqa: ANN401 # argparse's
    """The options of a benchmark that keeps its rows: `--quick`, `--rows`, and one for a part.

    Args:
        description: What `--help` says.
        part: The option that measures a part of the rows only, as `--task`; it needs `--rows`.
        **option: What else argparse is told of it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    parser.add_argument("--rows", type=Path, help="keep rows here; measure none anew")
    parser.add_argument(part, dest="part", **{"help": "only this; needs --rows", **option})
    given = parser.parse_args()
    if given.part and not given.rows:
        parser.error(f"{part} needs --rows")
    return given


def measure_parts(
    parts: Mapping[str, Iterable[Mapping[str, Any]]],
    given: argparse.Namespace,
    rows: list[dict[str, Any]],
) -> None:
    """Measure the parts that are asked for and not kept, print their rows, and keep them.

    Args:
        parts: The rows of each part by its name; one that is not asked for its rows does nothing.
        given: What `row_options` gave.
        rows: Those before; they grow.
    """
    kept = {row["part"] for row in rows}
    for part, measured in parts.items():
        if part in kept or not part.startswith(given.part or ""):
            continue
        found = []
        for row in measured:
            found.append({"part": part, **row})
            print(found[-1], flush=True)
        keep_rows(given.rows, found)
        rows += found


def publish(
    name: str,
    headline: Mapping[str, float],
    rows: Sequence[Mapping[str, object]],
    seeds: Sequence[int],
    *,
    quick: bool,
) -> None:
    """Print all rows and the headline and, unless quick, write the result."""
    print_table(rows)
    print_table([headline])
    if not quick:
        write_result(name, headline, rows, seeds)


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of equal keys as an aligned table."""
    cells = [list(rows[0])] + [
        [f"{value:.5f}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
