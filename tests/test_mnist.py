import gzip
import hashlib
import http.server
import logging
import os
import struct
import threading
import time

import numpy as np
import pooch
import pytest

from convae.datasets import load_dataset, mnist
from convae.errors import DataError, DataUnavailableError

REAL = os.environ.get("CONVAE_DATA")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
LABELS = np.arange(6, dtype=np.uint8)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.delenv("CONVAE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:9/mnist.npz")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda project: folder / project)
    return folder / "convae"


@pytest.fixture
def stored(tmp_path):
    folder = tmp_path / "stored"
    folder.mkdir()
    np.savez(
        folder / "mnist.npz", x_train=IMAGES[:4], x_test=IMAGES[4:], y_train=LABELS[:4],
        y_test=LABELS[4:],
    )  # fmt: skip
    return folder


@pytest.fixture
def server(stored):
    """Serves the stored file at /good, breaks off at /short, and never answers at /stalled."""
    data = (stored / "mnist.npz").read_bytes()
    finished = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/stalled":
                finished.wait(20)
            elif self.path == "/missing":
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[:1000] if self.path in ("/short", "/stuck") else data)
                if self.path == "/stuck":
                    self.wfile.flush()
                    finished.wait(20)
            self.close_connection = True

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        finished.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def point_to(server, stored, monkeypatch):
    def point(path):
        digest = hashlib.sha256((stored / "mnist.npz").read_bytes()).hexdigest()
        monkeypatch.setattr(mnist, "URL", f"{server}/{path}")
        monkeypatch.setattr(mnist, "SHA256", digest)
        monkeypatch.setattr(mnist, "READ_TIMEOUT_S", 0.3)

    return point


def check(data):
    assert np.array_equal(data.train[..., 0], IMAGES[:4])
    assert np.array_equal(data.test[..., 0], IMAGES[4:])
    assert data.train_labels.tolist() == LABELS[:4].tolist()
    assert data.test_labels.tolist() == LABELS[4:].tolist()


def test_a_folder_of_the_user_comes_first(stored, monkeypatch):
    monkeypatch.setenv("CONVAE_DATA", str(stored))
    data = load_dataset("mnist")
    check(data)
    assert data.source == f"MNIST in {stored}"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_four_idx_files_of_a_folder_are_mnist_too(tmp_path, monkeypatch, ending):
    for name, array in [
        ("train-images-idx3", IMAGES[:4]),
        ("t10k-images-idx3", IMAGES[4:]),
        ("train-labels-idx1", LABELS[:4]),
        ("t10k-labels-idx1", LABELS[4:]),
    ]:
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        data = header + array.tobytes()
        (tmp_path / f"{name}-ubyte{ending}").write_bytes(gzip.compress(data) if ending else data)
    monkeypatch.setenv("CONVAE_DATA", str(tmp_path))
    check(load_dataset("mnist"))


def test_a_damaged_file_of_the_user_is_refused_and_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "mnist.npz").write_text("damaged")
    monkeypatch.setenv("CONVAE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"mnist\.npz must be a \.npz file of numeric arrays"):
        load_dataset("mnist")


def test_a_good_download_is_kept_and_used_again_without_the_server(
    cache, point_to, monkeypatch, capfd
):
    point_to("good")
    logged = []
    watcher = logging.Handler()
    monkeypatch.setattr(watcher, "emit", logged.append)
    monkeypatch.setattr(pooch.get_logger(), "handlers", [watcher])
    level = pooch.get_logger().level
    data = load_dataset("mnist")
    check(data)
    assert data.source == f"MNIST, {mnist.URL}"
    assert [path.name for path in cache.iterdir()] == ["mnist.npz"]
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:9/mnist.npz")
    check(load_dataset("mnist"))
    assert logged == []
    assert pooch.get_logger().level == level
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("missing", "404"),
        ("short", "IncompleteRead|does not match|Connection broken"),
        ("stalled", "timed out"),
        ("stuck", "timed out"),
    ],
)
def test_a_failed_download_leaves_nothing_and_names_the_ways_out(cache, point_to, path, text):
    point_to(path)
    started = time.monotonic()
    with pytest.raises(DataUnavailableError, match=text) as caught:
        load_dataset("mnist")
    assert time.monotonic() - started < 5
    assert list(cache.iterdir()) == []
    message = str(caught.value)
    assert message.startswith("MNIST must be on this machine or be downloadable once; CONVAE_DATA")
    assert "CONVAE_DATA is not set" in message
    assert message.endswith(
        "Set CONVAE_DATA to a folder with mnist.npz, or go online once, or use the digits that "
        "ship with scikit-learn: convae train digits"
    )


def test_a_download_with_another_checksum_is_not_kept(cache, point_to, monkeypatch):
    point_to("good")
    monkeypatch.setattr(mnist, "SHA256", "0" * 64)
    with pytest.raises(DataUnavailableError, match="hash of downloaded file"):
        load_dataset("mnist")
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(cache, point_to):
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_text("damaged")
    point_to("good")
    check(load_dataset("mnist"))


@pytest.mark.usefixtures("cache")
def test_a_useless_folder_of_the_user_is_named_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVAE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"CONVAE_DATA is .*nowhere, which holds no MNIST, and the"):
        load_dataset("mnist")


def test_a_cache_that_cannot_be_written_is_refused(cache):
    cache.parent.write_text("a file is in the way")
    with pytest.raises(DataUnavailableError, match="the download gave"):
        load_dataset("mnist")


@pytest.mark.skipif(REAL is None, reason="CONVAE_DATA is not set")
def test_the_real_mnist_has_its_sizes(monkeypatch):
    monkeypatch.setenv("CONVAE_DATA", REAL)
    data = load_dataset("mnist")
    assert data.train.shape == (60_000, 28, 28, 1)
    assert data.test.shape == (10_000, 28, 28, 1)
    assert np.bincount(data.train_labels).tolist()[:3] == [5923, 6742, 5958]
