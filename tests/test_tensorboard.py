import struct
import sys

import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from convae.architecture.history import EpochRecord
from convae.autoencoder.tensorboard import TensorBoardLog
from convae.errors import MissingExtraError, OutputError

FIRST = EpochRecord(epoch=1, loss=0.5, val_loss=None, learning_rate=1e-3, elapsed_s=1.0)
SECOND = EpochRecord(epoch=2, loss=0.25, val_loss=0.125, learning_rate=5e-4, elapsed_s=1.0)


def masked(data):
    """The checksum of a TFRecord (https://www.tensorflow.org/tutorials/load_data/tfrecord)."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(path):
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        record = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12]) == (masked(data[:8]),)
        assert struct.unpack("<I", data[12 + length : 16 + length]) == (masked(record),)
        yield Event.FromString(record)
        data = data[16 + length :]


def read_scalars(folder):
    first, *rest = (event for path in sorted(folder.iterdir()) for event in read_events(path))
    assert first.file_version == "brain.Event:2"
    return [
        (event.step, value.tag, pytest.approx(value.simple_value))
        for event in rest
        for value in event.summary.value
    ]


def run(log, *records):
    log.start(len(records), 1)
    for record in records:
        log.step(record.epoch, 1, record.loss)
        log.epoch(record)
    log.stop()


def test_the_log_holds_the_losses_and_the_learning_rate_of_each_epoch(tmp_path):
    run(TensorBoardLog(tmp_path / "deep" / "log"), FIRST, SECOND)
    assert read_scalars(tmp_path / "deep" / "log") == [
        (1, "loss", 0.5),
        (1, "learning_rate", 1e-3),
        (2, "loss", 0.25),
        (2, "val_loss", 0.125),
        (2, "learning_rate", 5e-4),
    ]


def test_tensorboard_finds_the_file_by_its_name(tmp_path):
    run(TensorBoardLog(str(tmp_path)), FIRST)
    (path,) = tmp_path.iterdir()
    assert "tfevents" in path.name


def test_an_epoch_can_be_watched_before_the_next(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.start(2, 1)
    log.epoch(FIRST)
    assert read_scalars(tmp_path)[0] == (1, "loss", 0.5)
    log.stop()


def test_nothing_is_written_before_training_begins(tmp_path):
    TensorBoardLog(tmp_path / "log").stop()
    assert not (tmp_path / "log").exists()


def test_a_folder_with_a_colon_is_no_cloud(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(TensorBoardLog("s3:bucket"), FIRST)
    assert len(read_scalars(tmp_path / "s3:bucket")) == 2


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    log = TensorBoardLog(tmp_path / "file" / "log")
    text = (
        f"A TensorBoard log needs a folder that can be written; {tmp_path}/file/log gave "
        f"'Not a directory'. Choose another folder or make room there."
    )
    with pytest.raises(OutputError) as caught:
        log.start(1, 1)
    assert str(caught.value) == text
    log.stop()


def test_a_full_disk_is_reported_and_does_not_hang(tmp_path, full_disk):
    log = TensorBoardLog(tmp_path)
    log.start(1000, 1)
    with full_disk(150), pytest.raises(OutputError, match="gave 'File too large'"):
        log.epoch(SECOND)
    log.stop()


def test_without_its_package_the_command_to_install_it_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError) as caught:
        TensorBoardLog(tmp_path)
    assert str(caught.value) == (
        "A TensorBoard log needs an optional package, and it is not installed. Install it with: "
        'pip install "convae[tensorboard]"'
    )
