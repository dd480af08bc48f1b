import os
import stat
import threading

import pytest

from convae.errors import ConvaeError, OutputError
from convae.storage.files import open_whole, write_whole


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_half(path, error):
    with open_whole(path) as stream:
        stream.write(b"half")
        raise error


def refused(path, reason):
    with pytest.raises(OutputError) as caught, open_whole(path) as stream:
        stream.write(b"new")
    assert str(caught.value) == (
        f"A result must be writable where it was asked for; writing {path} gave '{reason}'. "
        f"Choose another place or make room there."
    )


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "result"
    with open_whole(path) as stream:
        stream.write(b"new")
        assert not path.exists()
    assert contents(tmp_path) == {"result": b"new"}


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with open_whole(str(path)) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert contents(tmp_path) == {"result": b"new"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_nothing_changes_when_the_block_raises(tmp_path, error):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    for target in (path, tmp_path / "another"):
        with pytest.raises(error):
            write_half(target, error)
    assert contents(tmp_path) == {"result": b"old"}


def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with full_disk(50_000), pytest.raises(OutputError, match="gave 'File too large'"):
        write_whole(path, bytes(100_000))
    assert contents(tmp_path) == {"result": b"old"}


def test_folders_are_made(tmp_path):
    write_whole(tmp_path / "one" / "two" / "result", b"new")
    assert contents(tmp_path / "one" / "two") == {"result": b"new"}


def test_a_relative_path_is_one_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("result", b"new")
    assert contents(tmp_path) == {"result": b"new"}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_rights_are_those_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "result", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "line\nbreak", " ", "-", b"\xff\xfe"])
def test_every_name_that_a_file_can_have_will_do(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    write_whole(path, b"new")
    assert contents(tmp_path) == {path.name: b"new"}


def test_a_link_stays_and_its_target_is_written(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "target").write_bytes(b"old")
    link, to_link = tmp_path / "link", tmp_path / "to_link"
    link.symlink_to("elsewhere/target")
    to_link.symlink_to(link)
    write_whole(to_link, b"new")
    assert link.is_symlink()
    assert to_link.is_symlink()
    assert contents(elsewhere) == {"target": b"new"}


def test_a_link_to_nothing_gets_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "target")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "folder") == {"target": b"new"}


def test_other_names_of_the_old_file_keep_it(tmp_path):
    write_whole(tmp_path / "result", b"old")
    (tmp_path / "backup").hardlink_to(tmp_path / "result")
    write_whole(tmp_path / "result", b"new")
    assert contents(tmp_path) == {"result": b"new", "backup": b"old"}


def test_a_folder_in_the_way_is_refused(tmp_path):
    refused(tmp_path, "a folder is in the way")
    (tmp_path / "link").symlink_to(tmp_path)
    refused(tmp_path / "link", "a folder is in the way")


def test_a_file_in_the_way_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    refused(tmp_path / "file" / "result", "a file is in the way of its folder")
    refused(tmp_path / "file" / "deeper" / "result", "a file is in the way of its folder")
    assert contents(tmp_path) == {"file": b"old"}


def test_a_pipe_is_refused_and_stays(tmp_path):
    # A device is as much in the way, but a test that fails must not cost the machine /dev/null.
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a device or a pipe is in the way")
    assert (tmp_path / "pipe").is_fifo()


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    refused(tmp_path / ("n" * 256), "File name too long")
    refused(f"{tmp_path}/a\0b", "a null character in the name")
    refused("", "a folder is in the way")
    assert contents(tmp_path) == {}


def test_a_folder_without_the_right_to_write_is_refused(unprivileged):
    unprivileged.chmod(0o500)
    refused(unprivileged / "result", "Permission denied")


def test_the_error_is_of_our_tree_and_of_the_system_s(tmp_path):
    with pytest.raises(OSError, match="must be writable"):
        write_whole(tmp_path, b"")
    with pytest.raises(ConvaeError, match="must be writable"):
        write_whole(tmp_path, b"")


def test_readers_see_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "result"
    versions = [bytes([number]) * 300_000 for number in range(1, 30)]
    write_whole(path, versions[0])
    seen = []
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in versions:
            write_whole(path, version)
    finally:
        done.set()
        reader.join()
    assert seen
    assert set(seen) <= set(versions)


def test_writers_do_not_mix(tmp_path):
    path = tmp_path / "result"
    versions = [bytes([number]) * 200_000 for number in range(1, 9)]
    threads = [threading.Thread(target=write_whole, args=(path, data)) for data in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(contents(tmp_path)) == ["result"]
    assert path.read_bytes() in versions
