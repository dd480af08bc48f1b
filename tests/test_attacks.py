"""Every attack that is kept as a file is refused with a message, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convae import ImageArchive, load_dataset, load_model
from convae.errors import ConvaeError

FOLDER = Path(__file__).parent / "attacks"
ATTACKS = json.loads((FOLDER / "attacks.json").read_text(encoding="utf-8"))
KEPT = {".py", ".json"}
MOST_GROWN_BYTES = 200 * 2**20

needs_limits = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="this system does not tell a process its size"
)


@pytest.fixture(scope="module")
def fed():
    """What each file came to, all in one process whose memory is bounded."""
    paths = [str(FOLDER / name) for name in ATTACKS]
    done = subprocess.run(
        [sys.executable, FOLDER / "feed.py", *paths], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_attack_is_kept_with_a_line_on_what_it_attacks():
    kept = {path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix not in KEPT}
    assert kept == set(ATTACKS)
    assert all(line and text for line, text in ATTACKS.values())


@needs_limits
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_a_message(fed, name):
    kind, message = fed["found"][str(FOLDER / name)]
    assert kind == "ConvaeError", message
    assert ATTACKS[name][1] in message
    assert len(message) < 1500


@needs_limits
def test_no_attack_takes_much_memory(fed):
    assert fed["grown_bytes"] < MOST_GROWN_BYTES


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.cae", ImageArchive),
        ("a.npz", load_dataset),
        ("a.npy", load_dataset),
        ("a-idx3-ubyte", load_dataset),
        ("a-idx3-ubyte.gz", load_dataset),
        ("a.parquet", load_dataset),
        ("a.safetensors", load_model),
    ],
)
def test_a_pipe_is_refused_before_it_is_opened(tmp_path, name, read):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConvaeError, match="pipe"):
        read(tmp_path / name)


def swollen(path, *, by_dictionary):
    """A Parquet file of a few kilobytes whose rows take hundreds of megabytes."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    large = arrow.array([bytes(2**27)], arrow.binary())
    column = large
    if by_dictionary:
        places = arrow.array(np.zeros(64, np.int32))
        column = arrow.DictionaryArray.from_arrays(places, large)
    options = {"use_dictionary": by_dictionary, "dictionary_pagesize_limit": 2**30}
    table = arrow.table({"image": column})
    parquet.write_table(table, path, compression="zstd", store_schema=False, **options)


@pytest.mark.parametrize("by_dictionary", [False, True])
def test_a_parquet_file_that_swells_is_refused(tmp_path, by_dictionary):
    path = tmp_path / "a.parquet"
    swollen(path, by_dictionary=by_dictionary)
    assert path.stat().st_size < 50_000
    with pytest.raises(ConvaeError, match=r"a row group of [\d,]+ bytes that become 134,217,"):
        load_dataset(path)
