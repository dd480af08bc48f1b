"""One loaded model in many threads, and in a forked process."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from convae import ConvAutoencoder, load_model
from convae.coding.threads import threads
from convae.errors import BackendError
from convae.nn import backend

NUM_THREADS = 8


def at_once(work, count=NUM_THREADS):
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return list(pool.map(lambda _: work(), range(count)))


def test_a_model_can_be_used_first_by_many_threads_at_once(fitted, model_path, digits, tmp_path):
    expected = fitted.transform(digits)
    model = ConvAutoencoder.load(model_path)
    for latents in at_once(lambda: model.transform(digits)):
        np.testing.assert_array_equal(latents, expected)
    model.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == model_path.read_bytes()


def test_a_model_in_use_can_be_shared_by_threads(fitted, digits):
    expected = fitted.score_samples(digits)
    found = at_once(lambda: fitted.score_samples(digits), 40)
    assert all((scores == expected).all() for scores in found)


def test_a_detector_can_be_shared_by_threads(detector, detector_path, zeros):
    loaded = load_model(detector_path)
    expected = detector.p_values(zeros[2])
    for p_values in at_once(lambda: loaded.job("anomalies").p_values(zeros[2])):
        np.testing.assert_array_equal(p_values, expected)


def test_an_archive_can_be_read_by_threads(codec, digits, tmp_path):
    codec.compress(digits[:12], tmp_path / "x.cae")
    before = [pool["num_threads"] for pool in threadpool_info()]
    with codec.open(tmp_path / "x.cae") as archive:
        for images in at_once(lambda: [image for batch, _ in archive.read() for image in batch], 2):
            np.testing.assert_array_equal(images, digits[:12])
        for image in at_once(lambda: archive[7], 2):
            np.testing.assert_array_equal(image, digits[7])
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_the_last_to_leave_lifts_the_limit_of_products():
    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    one, other = threads(), threads()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    limited = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert set(limited) == {1}
    other.__exit__(None, None, None)
    after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert after == before


FORK = """
import os, sys, warnings
import numpy as np
from convae import ConvAutoencoder
from convae.errors import BackendError

warnings.simplefilter("ignore")  # JAX's own, of the fork
model = ConvAutoencoder.load(sys.argv[1])
images = np.zeros((2, 28, 28, 1), np.uint8)
if sys.argv[2] == "used":
    model.transform(images)
child = os.fork()
if not child:
    try:
        model.transform(images)
    except BackendError as error:
        print(error, flush=True)
        os._exit(3)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("use", ["used", "unused"])
def test_a_forked_process_computes_or_says_what_to_do(model_path, use):
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(model_path), use],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if use == "used":
        assert done.returncode == 3
        assert "'spawn' or 'forkserver'" in done.stdout
    else:
        assert (done.returncode, done.stdout) == (0, "")


def test_no_device_is_said_before_pictures_are_read(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "convae", "train", "digits", "--out", "out"],
        capture_output=True, text=True, cwd=tmp_path,
        env={"PATH": "", "JAX_PLATFORMS": "cuda"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: JAX must find a device to compute on; with JAX_PLATFORMS")
    assert "Unset JAX_PLATFORMS" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_looked_for_once(monkeypatch):
    monkeypatch.setattr(backend, "_start_jax", lambda: pytest.fail("looked again"))
    monkeypatch.setattr(backend.keras.backend, "backend", lambda: "jax")
    backend.start()
    monkeypatch.setattr(backend, "_started_in", 1)
    with pytest.raises(BackendError, match="must not be forked from one that has computed"):
        backend.start()
