"""Feed files to what reads them, in bounded memory; prints what each came to, as JSON."""

import contextlib
import io
import json
import resource
import sys
from pathlib import Path

import numpy as np

from convae import AnomalyDetector, ImageArchive, ImageCodec, load_dataset, load_model
from convae.cli.main import main
from convae.errors import ConvaeError

MOST_BYTES = 2**30


def use_model(path):
    """Load a model and use its jobs, which need no network here."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["info", str(path)])
    model = load_model(path)
    images = np.zeros((2, *model.architecture.image_shape), np.uint8)
    if "anomalies" in model.jobs:
        detector = model.job("anomalies")
        detector.choice_.warnings()
        detector.judge(images)
        detector.p_values(images)
    AnomalyDetector.load(path)
    ImageCodec.load(path)


def use_archive(path):
    """Decode all images."""
    with ImageArchive(path) as archive:
        for _ in archive.read():
            pass


READERS = {".safetensors": use_model, ".cae": use_archive}


def feed(path):
    """The kind of error, and what it says."""
    try:
        READERS.get(path.suffix, load_dataset)(path)
    except ConvaeError as error:
        return "ConvaeError", str(error)
    except BaseException as error:
        return type(error).__name__, str(error)
    return "accepted", ""


if __name__ == "__main__":
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, resource.RLIM_INFINITY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {path: feed(Path(path)) for path in sys.argv[1:]}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(json.dumps({"found": found, "grown_bytes": 1024 * grown}))
