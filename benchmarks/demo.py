"""The demo against three epochs of the preset `reference`: whole commands, in pairs.

    python benchmarks/demo.py            # three pairs, about 10 minutes on 2 cores
    python benchmarks/demo.py --quick    # one pair, an epoch each; writes no result

Each command is a process of its own that loads MNIST, compiles, trains, judges the test images and
writes its files, as at a first try. Ratios are taken pair by pair, and each pair begins with the
other command.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from results import print_table, write_result

DEMO = ["demo"]
REFERENCE = ["train", "mnist", "--preset", "reference", "--seed", "0", "--epochs", "3"]
PAIRS = 3

Row = dict[str, Any]


def measure(words: list[str]) -> Row:
    """Run one command in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "convae", *words, "--json", "--out", folder]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        elapsed_s = time.perf_counter() - started
    figures = json.loads(done.stdout)
    return {"command": words[0], "elapsed_s": elapsed_s, "test_mse": figures["mse"]}


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter; writes no result")
    given = parser.parse_args()
    pair = [DEMO, REFERENCE]
    if given.quick:
        pair = [[*DEMO, "--epochs", "1"], [*REFERENCE[:-1], "1"]]
    rows: list[Row] = []
    ratios = []
    for index in range(1 if given.quick else PAIRS):
        found = {words[0]: measure(words) for words in (pair, pair[::-1])[index % 2]}
        rows += found.values()
        ratios.append(found["demo"]["elapsed_s"] / found["train"]["elapsed_s"])
    print_table(rows)
    headline = {
        "demo_over_three_reference_epochs": statistics.median(ratios),
        "demo_test_mse": statistics.mean(r["test_mse"] for r in rows if r["command"] == "demo"),
    }
    print_table([headline])
    if not given.quick:
        write_result("demo", headline, rows, [0])


if __name__ == "__main__":
    main()
