"""Model files that someone changed: each must be refused, or work and give finite numbers.

    python benchmarks/model_fuzz.py               # 100,000 changed files
    python benchmarks/model_fuzz.py --quick       # 1,000; writes no result
    python benchmarks/model_fuzz.py --mutant 123  # one of them, with its traceback

Small models with all jobs are changed at random: bytes, values of the document, names, types,
shapes and offsets of tensors, and their numbers. Nearly all are given a correct checksum again, as
an attacker would. Each is loaded and used for all that it offers: latents, reconstructions,
p-values, heat maps, archives of pixels and of latents, new and denoised images. The network is that
of `tests/oracle.py`, in NumPy, since compiling one for each file would take most of the time.

A fault is any error but a `ConvaeError`, more than 5 seconds of a processor, more than 1 GiB, a
number that is not finite, or wrong pixels. A process of its own reads some hundred files, under a
limit of its memory. `slowest_s` is of processor time. `peak_mib` is by how much its resident
memory, at the most, was above what the sound models need.
"""

import argparse
import copy
import hashlib
import json
import math
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import numpy as np
from archive_fuzz import change
from numpy.typing import NDArray
from results import peak_mib, publish

from convae import load_dataset
from convae.architecture.plan import Architecture
from convae.errors import ConvaeError
from convae.jobs.model import TrainedModel
from convae.nn.network import check_finite
from convae.storage.modelfile import read_model
from convae.storage.safefile import DTYPES

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from coders import random_model  # type: ignore[import-not-found] # behind its path
from oracle import decode, encode  # type: ignore[import-not-found]

NUM_CHANGED, NUM_QUICK, NUM_A_PROCESS = 100_000, 1_000, 500
MOST_SECONDS, MOST_BYTES = 5, 2**30
SIDE = 9
CHANNELS = (1, 3)
NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**64,
    10**19, 0.5, -0.5, 1e-6, 5e-324, 1e-300, 1e18, 1e38, 1e300, -1e300, 1.7976931348623157e308,
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None, True, False, "", "x", "\0", "\x1b[2J", "neighbors", "latents", [], [1], {}, {"a": 1},
    [8, 8, 1], [[[[]]]],
)  # fmt: skip


@dataclass
class File:
    """The parts of a model file, to be changed one by one."""

    document: dict[str, Any]
    tensors: dict[str, tuple[str, list[Any], bytes]]

    @classmethod
    def of(cls, data: bytes) -> "File":
        """The parts of a sound file."""
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        document = json.loads(header.pop("__metadata__")["convae"])
        tensors = {
            name: (
                entry["dtype"],
                entry["shape"],
                data[end + entry["data_offsets"][0] : end + entry["data_offsets"][1]],
            )
            for name, entry in header.items()
        }
        return cls(document, tensors)

    def to_bytes(self, spoil: Callable[[dict[str, Any]], None] | None = None) -> bytes:
        """The file with a correct checksum; `spoil` may change its header before that."""
        place, header = 0, {}
        for name, (kind, shape, data) in self.tensors.items():
            offsets = [place, place + len(data)]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
            place += len(data)
        if spoil:
            spoil(header)
        document = {**self.document, "sha256": "0" * 64} if self.document else {}
        metadata = {"convae": json.dumps(document)}
        text = json.dumps({"__metadata__": metadata, **header}).encode()
        body = b"".join(data for _, _, data in self.tensors.values())
        return signed(len(text).to_bytes(8, "little") + text + body)


def signed(data: bytes) -> bytes:
    """The bytes with the checksum that they ought to have, where its place is plain."""
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        found = json.loads(json.loads(data[8:end])["__metadata__"]["convae"])["sha256"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    place = data.find(found)
    if len(found) != 64 or not 8 <= place <= end - 64:
        return data
    zeroed = data[:place] + b"0" * 64 + data[place + 64 :]
    return data[:place] + hashlib.sha256(zeroed).hexdigest().encode() + data[place + 64 :]


def mutant(number: int, files: list[bytes]) -> tuple[bytes, str]:
    """The changed file of a number, and what was changed."""
    chance = random.Random(number)  # noqa: S311 # no secrets
    data = chance.choice(files)
    kind = chance.choice(
        ("bytes", "document", "document", "entry", "tensor", "tensor", "numbers", "numbers")
    )
    if kind == "bytes":
        changed = change(data, chance)
        return (signed(changed) if chance.random() < 0.9 else changed), kind
    file = File.of(data)
    spoil = None
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if kind == "document":
            change_document(file.document, chance)
        elif kind == "tensor":
            change_tensor(file.tensors, chance)
        elif kind == "numbers":
            change_numbers(file.tensors, chance)
        else:
            spoil = lambda header: change_document(header, chance)  # noqa: E731
    return file.to_bytes(spoil), kind


def change_document(document: Any, chance: random.Random) -> None:  # noqa: ANN401 # JSON
    """Change one value, key or length somewhere in a document."""
    places: list[tuple[Any, Any]] = []
    left = [document]
    while left:
        node = left.pop()
        pairs = list(node.items() if isinstance(node, dict) else enumerate(node))
        places += [(node, key) for key, _ in pairs]
        left += [value for _, value in pairs if isinstance(value, dict | list)]
    if not places:
        return
    # By the key first, so that long lists do not take it all.
    names = sorted({str(key) for _, key in places})
    name = chance.choice(names)
    node, key = chance.choice([place for place in places if str(place[1]) == name])
    value = node[key]
    choice = chance.randrange(8)
    if choice == 0:
        del node[key]
    elif choice == 1 and isinstance(node, dict):
        node[chance.choice((f"{key}x", "", "x" * 100_000, *names))] = node.pop(key)
    elif choice == 2 and isinstance(value, list):
        node[key] = value * chance.choice((2, 1000)) or [0] * 10_000
    elif choice == 3 and isinstance(value, str):
        node[key] = value[:1000] * 10_000  # it may have been lengthened before
    elif choice == 4 and type(value) in (int, float):
        node[key] = chance.choice(
            (value + 1, value - 1, -value, value * 2, value / 2, float(value))
        )
    else:
        # A copy: a later change would go into the constant.
        node[key] = copy.deepcopy(chance.choice(NUMBERS + OTHERS))


def change_tensor(tensors: dict[str, tuple[str, list[Any], bytes]], chance: random.Random) -> None:
    """Change the name, type or shape of a tensor, with data of the size that belongs to it."""
    if not tensors:
        return
    name = pick(tensors, chance)
    kind, shape, data = tensors[name]
    choice = chance.randrange(6)
    if choice == 0:
        del tensors[name]
        return
    if choice == 1:
        tensors[chance.choice((f"{name}x", "", "codec/", pick(tensors, chance)))] = tensors.pop(
            name
        )
        return
    if choice == 2:
        other = pick(tensors, chance)
        tensors[name], tensors[other] = tensors[other], tensors[name]
        return
    if choice == 3:
        kind = chance.choice(list(DTYPES))
    elif choice == 4:
        shape = chance.choice(
            ([], [0], [1], shape[:-1], [*shape, 1], [1, *shape], shape[::-1], [math.prod(shape)])
        )
    elif shape:
        axis = chance.randrange(len(shape))
        side = chance.choice((0, 1, shape[axis] - 1, shape[axis] + 1, 2 * shape[axis], 1000))
        # Where several tensors share a side, all may get it.
        old, alike = shape[axis], chance.random() < 0.5
        shape = [*shape[:axis], max(0, side), *shape[axis + 1 :]]
        prefix = name.rpartition("/")[0]
        for each, (its_kind, its_shape, its_data) in list(tensors.items()):
            if alike and each.startswith(prefix) and old in its_shape:
                its_shape = [max(0, side) if one == old else one for one in its_shape]
                tensors[each] = (its_kind, its_shape, filled(its_kind, its_shape, its_data))
    tensors[name] = (kind, shape, filled(kind, shape, data))


def filled(kind: str, shape: list[int], data: bytes) -> bytes:
    """As many bytes as a tensor needs, of those that there are."""
    size = math.prod(shape) * DTYPES[kind].itemsize
    if size > 2**22:
        return data
    return (data * (size // max(1, len(data)) + 1))[:size] if data else bytes(size)


def change_numbers(tensors: dict[str, tuple[str, list[Any], bytes]], chance: random.Random) -> None:
    """Change one, some or all numbers of a tensor."""
    name = pick(tensors, chance)
    kind, shape, data = tensors[name]
    dtype = DTYPES[kind]
    values = np.frombuffer(data, dtype).copy()
    if not values.size:
        return
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        special = [0, 1, -1, 1e-6, limits.max, limits.min, limits.tiny, 5e-324, 1e18, -1e18, 1e9]
        special += [np.nan, np.inf] if chance.random() < 0.1 else []
    else:
        whole = np.iinfo(dtype)
        special = [0, 1, whole.max, whole.min, whole.max // 2, 2]
    with np.errstate(all="ignore"):
        value = np.array(chance.choice(special)).astype(dtype)
        choice = chance.randrange(4)
        if choice == 0:
            values[chance.randrange(values.size)] = value
        elif choice == 1:
            values[chance.randrange(values.size) :: chance.randint(1, 9)] = value
        elif choice == 2:
            values[:] = value
        else:
            factor = chance.choice((-1, 2, 0.5, 1e3, 1e10, 1e30))
            values = (values.astype(np.float64) * factor).astype(dtype)
    tensors[name] = (kind, shape, values.tobytes())


def pick(tensors: dict[str, Any], chance: random.Random) -> str:
    """A tensor: of the network, of the detector or of the codec first."""
    groups: dict[str, list[str]] = {}
    for name in tensors:
        groups.setdefault(name.partition("/")[0], []).append(name)
    return chance.choice(groups[chance.choice(sorted(groups))])


class OracleNetwork:
    """A network in NumPy; it refuses what `KerasNetwork` refuses."""

    def __init__(self, architecture: Architecture, weights: dict[str, NDArray[np.float32]]) -> None:
        self.architecture, self._weights = architecture, weights

    def start(self) -> None:
        """Nothing is to be started."""

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all weights."""
        return {name: value.copy() for name, value in self._weights.items()}

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents."""
        with np.errstate(all="ignore"):
            found = encode(self.architecture, self._weights, images).astype(np.float32)
        return check_finite(found)

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images."""
        with np.errstate(all="ignore"):
            found = decode(self.architecture, self._weights, latents).astype(np.float32)
        return check_finite(found)

    def reconstruct(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Both."""
        return self.decode(self.encode(images))


class BadResultError(Exception):
    """A result that is not finite, or not what it should be."""


class HangError(BaseException):
    """Too long; no `except Exception` stops it."""


def use(path: Path) -> None:
    """Load a model and do all that it offers with two images."""
    from convae.cli.main import main

    model = TrainedModel(read_model(path), str(path), OracleNetwork)
    if main(["info", str(path)]) != 0:
        raise BadResultError("info fails on a model that loads")
    shape = (2, *model.architecture.image_shape)
    if math.prod(shape) > 100_000:
        raise BadResultError(f"a model of {shape} was accepted")
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, shape).astype(np.uint8)
    if not model.contents.preprocessing["channel_axis"]:
        images = images[..., 0] if shape[3] == 1 else images
    network = model.autoencoder
    finite("latents", network.transform(images))
    finite("reconstructions", network.reconstruct(images))
    # Each job is used, even where another is refused.
    errors = []
    for job, use_job in USES.items():
        if job in model.jobs:
            try:
                use_job(model.job(job), images, path)
            except ConvaeError as error:
                errors.append(error)
    if errors:
        raise errors[0]


def use_detector(detector: Any, images: NDArray[Any], _: Path) -> None:  # noqa: ANN401
    """Everything that a detector offers."""
    detector.choice_.warnings()
    p_values = detector.p_values(images)
    if not ((p_values > 0) & (p_values <= 1)).all():
        raise BadResultError(f"p-values {p_values}")
    finite("scores", detector.score_samples(images))
    finite("restored images", detector.restore(images))
    scores, heat = detector.judge(images)
    finite("scores", scores)
    finite("heat", heat)


def use_codec(codec: Any, images: NDArray[Any], path: Path) -> None:  # noqa: ANN401
    """Archives of pixels and of latents."""
    archive = path.with_suffix(".cae")
    images = images.reshape(len(images), *images.shape[1:3], -1)
    errors = []
    for options in ({}, {"tiny": True, "refinement_steps": 0, "with_model": True}):
        try:
            bits, channels = codec.contexts_.bits, codec.contexts_.channels
            pixels = images.astype(np.uint16 if bits == 16 else np.uint8)
            if not options:  # a codec of pixels takes any size
                pixels = np.repeat(pixels[:, :5, :5, :1], channels, axis=3)
            codec.compress(pixels, archive, **options)
            with codec.open(archive) as opened:
                found = np.concatenate([part for part, _ in opened.read()])
        except ConvaeError as error:
            errors.append(error)
            continue
        if not options and not np.array_equal(found, pixels):
            raise BadResultError("wrong pixels")
        if found.shape != pixels.shape:
            raise BadResultError(f"images of shape {found.shape}")
    if errors:
        raise errors[0]


def use_sampler(sampler: Any, images: NDArray[Any], _: Path) -> None:  # noqa: ANN401
    """Everything that a sampler offers."""
    for made in (
        sampler.sample(2, seed=0),
        sampler.interpolate(*images, 3),
        sampler.traverse(0, num_images=3),
        sampler.vary(images[0], 2, seed=0),
    ):
        finite("new images", made)
        if made.min() < 0 or made.max() > 1:
            raise BadResultError(f"new images from {made.min()} to {made.max()}")


def use_denoiser(denoiser: Any, images: NDArray[Any], _: Path) -> None:  # noqa: ANN401
    """Everything that a denoiser offers."""
    clean = denoiser.denoise(images)
    finite("denoised images", clean)
    finite("noise levels", denoiser.noise_levels(images))
    if clean.shape != images.shape or clean.min() < 0 or clean.max() > 1:
        raise BadResultError(f"denoised images of {clean.shape}, {clean.min()} to {clean.max()}")


USES = {
    "anomalies": use_detector,
    "codec": use_codec,
    "denoising": use_denoiser,
    "sampling": use_sampler,
}


def finite(what: str, values: NDArray[Any]) -> None:
    """Refuse NaN and infinity."""
    if not np.isfinite(values).all():
        raise BadResultError(f"{what} that are not finite")


def make_models(folder: Path) -> list[bytes]:
    """Models of the middles of digits, gray and in color, with all jobs."""
    from convae import AnomalyDetector, ConvAutoencoder, Denoiser, LatentSampler
    from convae.jobs.codec.latents import fit_latent_codes
    from convae.jobs.codec.stored import to_job
    from convae.jobs.denoise import denoiser as denoiser_module

    digits = np.ascontiguousarray(load_dataset("digits").train[:60, 9 : 9 + SIDE, 9 : 9 + SIDE])
    color = np.concatenate([digits, digits[::-1], 255 - digits], axis=3)
    files = []
    for images in (digits, color):
        tiny = ConvAutoencoder(filters=(2, 3), latent_dim=2, epochs=1)
        detector = AnomalyDetector(tiny, false_alarm_rate=0.2).fit(images)
        latents = fit_latent_codes(detector.autoencoder_, images, 0)
        codec = to_job(random_model(images.shape[3], hidden=4), latents)
        sampling = LatentSampler(detector.autoencoder_).fit(images).to_job()
        with patch.object(denoiser_module, "WIDTHS", (2, 3)):
            denoising = Denoiser(detector.autoencoder_, steps=1).fit(images).to_job()
        jobs = {"codec": codec, "denoising": denoising, "sampling": sampling}
        contents = detector.to_contents().with_jobs(jobs)
        for score in ("neighbors", "latents", "reconstruction", "restoration"):
            # Any chosen score may be attacked.
            job = contents.jobs["anomalies"]
            choice = {**job.settings["choice"], "score": score, "aurocs": {score: 0.5}}
            choice |= {"centers": {score: 0.0}, "scales": {score: 1.0}}
            spaces = {"heat_units": {"edges": job.settings["heat_units"]["edges"]}}
            settings = {**job.settings, "choice": choice, **spaces}
            tables = {name: table for name, table in job.tables.items() if "colors" not in name}
            changed = type(job)(settings, tables)
            path = folder / f"{score}.safetensors"
            TrainedModel(contents.with_jobs({"anomalies": changed})).save(path)
            files.append(path.read_bytes())
        path = folder / "model.safetensors"
        TrainedModel(contents).save(path)
        files.append(path.read_bytes())
    return files


def attack(files: list[bytes], first: int, count: int, folder: Path) -> dict[str, Any]:
    """Use some mutants, and count what became of them."""
    warnings.simplefilter("ignore")
    path = folder / "mutant.safetensors"
    for data in files:
        path.write_bytes(data)
        use(path)

    def stop(_: int, __: FrameType | None) -> None:
        raise HangError

    signal.signal(signal.SIGPROF, stop)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = peak_mib()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, resource.RLIM_INFINITY))
    counts: Counter[str] = Counter()
    faults, slowest = [], 0.0
    for number in range(first, first + count):
        data, kind = mutant(number, files)
        path.write_bytes(data)
        (folder / "number").write_text(str(number))
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        try:
            use(path)
            counts["fine"] += 1
        except ConvaeError:
            counts["refused"] += 1
        except (Exception, HangError) as error:  # every one is a fault
            places = traceback.extract_tb(error.__traceback__)
            where = next((place for place in reversed(places) if "convae" in place.filename), None)
            at = f"{Path(where.filename).name}:{where.lineno}" if where else "?"
            faults.append([number, kind, f"{type(error).__name__}: {error}"[:150], at])
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - started)
    peak = peak_mib() - before
    return {**counts, "faults": faults, "slowest_s": slowest, "peak_mib": peak}


def run_part(models: Path, first: int, count: int) -> subprocess.Popen[bytes]:
    """A process that uses some mutants."""
    command = [sys.executable, __file__, "--part", str(models), str(first), str(count)]
    # A thread for each, since the processes share the cores.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def main() -> None:
    """Change, load, use, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000; writes no result")
    parser.add_argument("--count", type=int, default=NUM_CHANGED, help="how many; 100,000")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--models", type=Path, help="a file to keep the sound models in")
    parser.add_argument("--mutant", type=int, help="use this one alone")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # In memory, where there is such a place: thousands of small files are written whole.
    quick_place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=quick_place) as name:
        folder = Path(name)
        if given.part:
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[int(given.part[1]) // NUM_A_PROCESS % len(cores)]})
            files = pickle.loads(Path(given.part[0]).read_bytes())  # noqa: S301 # our own
            keep, sys.stdout = sys.stdout, Path(os.devnull).open("w")  # noqa: SIM115
            sys.stderr = sys.stdout
            found = attack(files, int(given.part[1]), int(given.part[2]), folder)
            print(json.dumps(found), file=keep)
            return
        models = given.models or folder / "models.pickle"
        if not models.exists():
            models.write_bytes(pickle.dumps(make_models(folder)))
        if given.mutant is not None:
            data, kind = mutant(given.mutant, pickle.loads(models.read_bytes()))  # noqa: S301
            print(kind)
            path = folder / "mutant.safetensors"
            path.write_bytes(data)
            use(path)
            return
        count = NUM_QUICK if given.quick else given.count
        publish_counts(count, models, given)


def publish_counts(count: int, models: Path, given: argparse.Namespace) -> None:
    """Use so many mutants in processes side by side, and tell what became of them."""
    started = time.perf_counter()
    starts = list(range(given.first, given.first + count, NUM_A_PROCESS))
    totals: Counter[str] = Counter()
    faults: list[Any] = []
    slowest = peak = 0.0
    cores = len(os.sched_getaffinity(0))
    for group in range(0, len(starts), cores):
        parts = [
            (first, run_part(models, first, min(NUM_A_PROCESS, given.first + count - first)))
            for first in starts[group : group + cores]
        ]
        for first, part in parts:
            try:
                output = part.communicate(timeout=NUM_A_PROCESS * MOST_SECONDS)[0]
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
            if part.returncode:
                faults.append([first, "process", f"ended with {part.returncode}", ""])
                continue
            row = json.loads(output)
            print(f"from {first}:", row, flush=True)
            faults += row.pop("faults")
            slowest, peak = max(slowest, row.pop("slowest_s")), max(peak, row.pop("peak_mib"))
            totals.update(row)
    elapsed = time.perf_counter() - started
    for fault in faults:
        print(*fault)
    headline = {
        "mutants": count,
        "mutant_faults": len(faults),
        "refused": totals["refused"],
        "fine": totals["fine"],
        "slowest_s": slowest,
        "peak_mib": peak,
        "mutants_per_s": count / elapsed,
    }
    quick = given.quick or count < NUM_CHANGED
    publish("model_fuzz", headline, [headline], [given.first], quick=quick)
    if faults:
        raise SystemExit(f"{len(faults)} of {count} changed models were neither refused nor fine.")


if __name__ == "__main__":
    main()
