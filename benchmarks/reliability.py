"""Commands that are killed, one model in many threads, and the memory that a large picture takes.

    python benchmarks/reliability.py            # 200 kills and the rest; half an hour on 2 cores
    python benchmarks/reliability.py --quick    # a kill for each command; writes no result
    python benchmarks/reliability.py --rows r.jsonl --part kills    # that alone; rows are kept

Kills: each verb that writes is started again and again over files that are there, and killed with
SIGKILL after a random part of the time that it takes. Then every file must be, to the byte, the old
one or the new one, and after one more run of the verb nothing unfinished may be left in the folder.
A search for anomalies is killed while it replaces that of other pictures, and an archive is killed
while pictures are added.

Threads: eight threads use a model that was just read, four times, and a detector and a denoiser;
what differs from one thread's answers is counted.

Memory: the peak of a process that compresses one color picture of 8,000 x 8,000, and of one that
decompresses it.

Changed files are counted by `archive_fuzz.py` and `model_fuzz.py`; their results are added here, if
there are any.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from results import FOLDER, keep_rows, kept_rows, publish, row_options

from convae import ConvAutoencoder, job_kinds, load_dataset, load_model
from convae.images import read_image, write_image

NUM_KILLS, NUM_THREADS, NUM_TRIALS, SIDE, SEED = 200, 8, 4, 8_000, 0
CONVAE = (sys.executable, "-m", "convae")
TRAINING = ("--filters", "4", "--latent-dim", "4", "--epochs", "2", "--seed", "0")

# Runs a command and tells its peak. Not by `getrusage`, which counts what this process had when it
# started the other one.
PEAK = """
import sys
from pathlib import Path
from convae.cli.main import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text().splitlines()
print(*(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""

Row = dict[str, Any]


def prepare(folder: Path) -> dict[str, list[list[str]]]:
    """Pictures, a model of them with all jobs, and commands, by the folder that they write to.

    The last command of a folder is the one to kill; the others make what it finds there.
    """
    digits = load_dataset("digits").train[:200]
    for index, image in enumerate(digits):
        write_image(folder / "pictures" / f"{index:03}.png", image)
        write_image(folder / "others" / f"other{index % 50:02}.png", 255 - image)
    jobs = [word for kind in job_kinds() for word in ("--for", kind)]
    run(["train", "pictures", *jobs, "--steps", "4", *TRAINING, "--out", "model"], folder)
    model = "model/model.safetensors"
    run(["compress", model, "pictures", "whole.cae"], folder)
    found = ["--false-alarm-rate", "0.1", "--out", "found", "--overwrite"]
    packed = ["packed/x.cae", "--overwrite"]
    ways = [
        ["train", "pictures", *TRAINING, "--out", "trained", "--overwrite"],
        ["reconstruct", model, "pictures", "--out", "rebuilt", "--overwrite"],
        ["embed", model, "pictures", "latents/x.npy", "--overwrite"],
        ["decompress", "whole.cae", "unpacked", "--model", model, "--overwrite"],
        ["embed", model, "pictures", "stored/x.npy", "--store", "stored/images.npy", "--overwrite"],
        ["sample", model, "--out", "sampled/sheet.png", "--overwrite"],
    ]
    folders = ("trained", "rebuilt", "latents", "unpacked", "stored", "sampled")
    return {
        **{name: [way, way] for name, way in zip(folders, ways, strict=True)},
        "found": [["detect", model, "others", *found], ["detect", model, "pictures", *found]],
        "denoised": [
            ["denoise", model, "others", "denoised", "--overwrite"],
            ["denoise", model, "pictures", "denoised", "--overwrite"],
        ],
        "packed": [
            ["compress", model, "others", *packed],
            ["compress", model, "pictures", *packed],
        ],
        "grown": [
            ["compress", model, "others", "grown/x.cae", "--overwrite"],
            ["compress", model, "pictures", "grown/x.cae", "--append"],
        ],
    }


def run(arguments: Sequence[str], folder: Path) -> float:
    """Run a command to its end; how many seconds it took."""
    started = time.monotonic()
    done = subprocess.run(
        [*CONVAE, *arguments], cwd=folder, env=_environment(folder), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"convae {' '.join(arguments)}: {done.stderr}")
    return time.monotonic() - started


def _environment(folder: Path) -> dict[str, str]:
    """What JAX compiled is kept, so that most of the time is not spent on it."""
    return {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def files_in(folder: Path) -> dict[str, bytes]:
    """Every finished file under a folder, but for what differs from run to run, and locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in ("history.csv", "checkpoint.safetensors")
        and ".convae" not in str(path.relative_to(folder))
    }


def mixed(found: dict[str, bytes], old: dict[str, bytes], new: dict[str, bytes]) -> bool:
    """Whether a file is neither the old nor the new one, or an old table tells of new overlays."""
    for path, data in found.items():
        if data not in (old.get(path), new.get(path)):
            return True
    table = found.get("anomalies.csv")
    if table is None:
        return False
    right = new if table == new.get("anomalies.csv") else old
    return any(found.get(path) != data for path, data in right.items())


def kill_rows(quick: bool) -> list[Row]:
    """One row for each verb: how often it was killed, and what was wrong then."""
    dice = random.Random(SEED)  # noqa: S311 # no secret
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = prepare(folder)
        for name, (*before, command) in commands.items():
            results = folder / name
            for each in before:
                run(each, folder)
            old = files_in(results)
            seconds = run(command, folder)
            new = files_in(results)
            count = 1 if quick else -(-NUM_KILLS // len(commands))
            damaged = left = 0
            for _ in range(count):
                shutil.rmtree(results)
                for path, data in old.items():
                    (results / path).parent.mkdir(parents=True, exist_ok=True)
                    (results / path).write_bytes(data)
                with subprocess.Popen(
                    [*CONVAE, *command], cwd=folder, env=_environment(folder),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                ) as process:  # fmt: skip
                    time.sleep(dice.uniform(0.2, 1.1) * seconds)
                    process.send_signal(signal.SIGKILL)
                found = files_in(results)
                damaged += mixed(found, old, new)
                # What was added before the kill is refused if it is added again.
                if found != new or "--append" not in command:
                    run(command, folder)
                left += any(".convae" in path.name for path in results.rglob("*"))
                damaged += files_in(results) != new
            row: Row = {"part": "kills", "what": f"{command[0]}, {name}", "tried": count}
            rows.append(row | {"wrong": damaged + left, "mb": 0.0})
            print(rows[-1], flush=True)
    return rows


def thread_rows(quick: bool) -> list[Row]:
    """What differs between the answers of one thread and of many at once."""
    images = load_dataset("digits").train[:60]
    trials = range(1 if quick else NUM_TRIALS)
    wrong = tried = 0
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        path = Path(name) / "model" / "model.safetensors"
        expected = ConvAutoencoder.load(path).transform(images)
        model = load_model(path)
        right = {
            ("anomalies", "p_values"): model.job("anomalies").p_values(images),
            ("denoising", "denoise"): model.job("denoising").denoise(images),
        }
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            for _ in trials:
                model, both = ConvAutoencoder.load(path), load_model(path)
                for found in pool.map(lambda _, m=model: m.transform(images), range(NUM_THREADS)):
                    tried, wrong = tried + 1, wrong + (not np.array_equal(found, expected))
                for (job, method), answer in right.items():
                    for found in pool.map(
                        lambda _, m=both, j=job, f=method: getattr(m.job(j), f)(images),
                        range(NUM_THREADS),
                    ):
                        tried, wrong = tried + 1, wrong + (not np.array_equal(found, answer))
                model.save(Path(name) / "again.safetensors")
                tried += 1
                wrong += (Path(name) / "again.safetensors").read_bytes() != path.read_bytes()
    return [{"part": "threads", "what": "answers", "tried": tried, "wrong": wrong, "mb": 0.0}]


def peak_rows(quick: bool) -> list[Row]:
    """Peak memory of packing and unpacking one large color picture."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, 512 if quick else SIDE)
        run(["train", "small", "--for", "codec", *TRAINING, "--out", "model"], folder)
        model = "model/model.safetensors"
        for verb, arguments in (
            ("compress", ["compress", model, "large", "x.cae"]),
            ("decompress", ["decompress", "x.cae", "again", "--model", model]),
        ):
            done = subprocess.run(
                [sys.executable, "-c", PEAK, *arguments], cwd=folder, capture_output=True,
                text=True,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(done.stderr)
            megabytes = int(done.stderr.split()[-1]) / 1000
            rows.append({"part": "memory", "what": verb, "tried": 1, "wrong": 0, "mb": megabytes})
            print(rows[-1], flush=True)
        given, found = (read_image(folder / path / "large.png") for path in ("large", "again"))
        rows[-1]["wrong"] = int(not np.array_equal(given, found))
    return rows


def make_pictures(folder: Path, side: int) -> None:
    """A large color picture of smooth shapes with some noise, and small cuts of it."""
    random_numbers = np.random.default_rng(SEED)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
    picture = np.empty((side, side, 3), np.uint8)
    for channel in range(3):
        plane = np.sin(7 * rows + channel) * np.cos(9 * columns) + np.sin(90 * rows * columns) / 4
        noise = random_numbers.integers(-4, 5, plane.shape, dtype=np.int8)
        picture[..., channel] = np.clip(128 + 90 * plane + noise, 0, 255)
    write_image(folder / "large" / "large.png", picture)
    for index in range(20):
        top, left = random_numbers.integers(0, side - 64, 2)
        write_image(folder / "small" / f"{index}.png", picture[top : top + 64, left : left + 64])


def fuzzed() -> dict[str, float]:
    """How many changed files the fuzzers tried, and how many were taken wrongly."""
    paths = [FOLDER / f"{name}.json" for name in ("archive_fuzz", "model_fuzz")]
    if not all(path.exists() for path in paths):
        return {}
    archives, models = (json.loads(path.read_text(encoding="utf-8"))["headline"] for path in paths)
    return {
        "mutants": archives["changed_archives"] + models["mutants"],
        "mutant_faults": archives["wrong_pixels"] + models["mutant_faults"],
    }


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    given = row_options(__doc__, "--part", choices=list(PARTS))
    rows = kept_rows(given.rows)
    done = {row["part"] for row in rows}
    for part, measure in PARTS.items():
        if part not in done and given.part in (None, part):
            found = measure(given.quick)
            keep_rows(given.rows, found)
            rows += found
    if given.part:
        return
    by_part = {part: [row for row in rows if row["part"] == part] for part in PARTS}
    if any(row["wrong"] for row in by_part["memory"]):
        raise SystemExit("The large picture came back otherwise.")
    headline: dict[str, float] = {
        "kills": sum(row["tried"] for row in by_part["kills"]),
        "kill_faults": sum(row["wrong"] for row in by_part["kills"]),
        "threads_wrong": sum(row["wrong"] for row in by_part["threads"]),
        "peak_mb_64mp": max(row["mb"] for row in by_part["memory"]),
    }
    quick = given.quick
    publish("reliability", headline if quick else fuzzed() | headline, rows, [SEED], quick=quick)


PARTS = {"threads": thread_rows, "kills": kill_rows, "memory": peak_rows}

if __name__ == "__main__":
    main()
