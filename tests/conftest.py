"""Fixtures that many tests share."""

import contextlib
import os
import resource
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from coders import learn_in_steps
from PIL import Image

from convae import AnomalyDetector, ConvAutoencoder, ImageCodec
from convae.cli.main import main
from convae.datasets import load_dataset


def pytest_configure(config):
    """Settle what this process hands on to those that the tests start.

    JAX keeps what it compiled, since compiling is nearly all the time that a fit on a few images
    takes. And Ctrl-C works, even where a shell started the tests in the background.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("jax")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")


@pytest.fixture(scope="session")
def digits():
    """64 real digits, uint8 (64, 28, 28, 1)."""
    return load_dataset("digits").train[:64]


@pytest.fixture(scope="session")
def fitted(digits):
    """A tiny model fitted on them; tests must not change it."""
    return ConvAutoencoder(filters=(4, 8), latent_dim=6, epochs=8, learning_rate=0.01, seed=3).fit(
        digits
    )


@pytest.fixture(scope="session")
def model_path(fitted, tmp_path_factory):
    """The model file of `fitted`."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    fitted.save(path)
    return path


@pytest.fixture(scope="session")
def zeros():
    """Zeros to fit on, other zeros, and other digits: uint8 (100, 51 and 200, 28, 28, 1)."""
    digits = load_dataset("digits")
    found = digits.train[digits.train_labels == 0]
    order = np.random.default_rng(0).permutation(len(found))
    others = digits.train[digits.train_labels != 0][:200]
    return found[order[:100]], found[order[100:]], others


@pytest.fixture(scope="session")
def detector(zeros):
    """A detector that saw 80 zeros and was calibrated on 20; tests must not change it."""
    small = ConvAutoencoder(filters=(4, 8), latent_dim=4, epochs=4)
    return AnomalyDetector(small, false_alarm_rate=0.1).fit(zeros[0])


@pytest.fixture(scope="session")
def detector_path(detector, tmp_path_factory):
    """The model file of `detector`."""
    path = tmp_path_factory.mktemp("detector") / "model.safetensors"
    detector.save(path)
    return path


@pytest.fixture(scope="session")
def codec(fitted, digits):
    """A codec that learned from the digits in 150 steps; tests must not change it."""
    with pytest.MonkeyPatch.context() as patch:
        learn_in_steps(patch, 150)
        return ImageCodec(fitted).fit(digits)


@pytest.fixture(scope="session")
def codec_path(codec, tmp_path_factory):
    """The model file of `codec`."""
    path = tmp_path_factory.mktemp("codec") / "model.safetensors"
    codec.save(path)
    return path


@pytest.fixture
def random_images():
    """Makes random uint8 images of a shape; the same each time."""

    def make(*shape, seed=0):
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def full_disk():
    """Within the block, writing a file beyond so many bytes fails midway."""

    @contextlib.contextmanager
    def limit(num_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@dataclass(frozen=True)
class Finished:
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys):
    """Runs the command line in this process; bad input must give one clear message."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Finished(code, out, err)

    return run


@pytest.fixture
def unprivileged(tmp_path):
    """A folder to work in without the rights of root, which no permission stops."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    nobody = 65534
    Image.init()  # what is imported later may lie where nobody but root may read
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, nobody, nobody)
        os.seteuid(nobody)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)
