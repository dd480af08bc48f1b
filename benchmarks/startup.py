"""Processor time of `convae --help`, against that of importing Keras, in pairs.

python benchmarks/startup.py            # 15 pairs, about a minute
python benchmarks/startup.py --quick    # 3 pairs; writes no result
"""

import argparse
import resource
import statistics
import subprocess
import sys

from results import print_table, write_result

COMMANDS = {
    "convae --help": [sys.executable, "-m", "convae", "--help"],
    "import convae": [sys.executable, "-c", "import convae"],
    "import keras": [sys.executable, "-c", "from convae.nn.backend import keras"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pairs; writes no result")
    quick = parser.parse_args().quick
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(4 if quick else 16):
        for name, command in COMMANDS.items():
            seconds[name].append(cpu_seconds(command))
    # The first round fills the disk's cache.
    counted = {name: values[1:] for name, values in seconds.items()}
    rows = [
        {
            "command": name,
            "cpu_s_median": statistics.median(values),
            "cpu_s_min": min(values),
            "cpu_s_max": max(values),
        }
        for name, values in counted.items()
    ]
    print_table(rows)
    ratios = [
        ours / theirs
        for ours, theirs in zip(counted["convae --help"], counted["import keras"], strict=True)
    ]
    ratio = statistics.median(ratios)
    print(f"help / import keras, pair by pair: median {ratio:.3f}, {min(ratios):.3f} to ", end="")
    print(f"{max(ratios):.3f}")
    if not quick:
        headline = {
            "help_cpu_s": statistics.median(counted["convae --help"]),
            "help_over_import_keras": ratio,
        }
        write_result("startup", headline, rows, [])


if __name__ == "__main__":
    main()
