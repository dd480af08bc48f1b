"""Large pictures are coded in tiles, and come back as they were."""

import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from coders import likely_images, random_model, smooth_images
from hypothesis import given, settings
from hypothesis import strategies as st
from test_archive import assemble, records, written

from convae.coding.archive import ArchiveWriter, ImageArchive
from convae.coding.blocks import Method, decode_blocks, encode_blocks
from convae.coding.tiling import Picture, Tiling
from convae.errors import ImageError, ModelFileError, ParameterError
from convae.images.pictures import read_exact
from convae.jobs.codec.extraction import write_array, write_pictures
from convae.jobs.codec.fitted import FittedCodec


@pytest.fixture
def small_tiles(monkeypatch):
    """Pictures of more than 600 bytes are cut, into tiles of at most 12 x 12."""
    monkeypatch.setattr("convae.coding.tiling.MOST_BYTES_WHOLE", 600)
    monkeypatch.setattr("convae.coding.tiling.TILE_SIDE", 12)
    monkeypatch.setattr("convae.coding.archive.BLOCK_BYTES", 3 * 144)
    monkeypatch.setattr("convae.coding.archive.GROUP_BYTES_OF_TILES", 6 * 144)


def read_all(path, model):
    with ImageArchive(path, [model]) as archive:
        return list(archive.read())


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile_height=st.integers(1, 70),
    tile_width=st.integers(1, 70),
    channels=st.integers(1, 4),
)
def test_tiles_make_up_the_picture_that_they_were_cut_from(
    height, width, tile_height, tile_width, channels
):
    picture = np.arange(height * width * channels, dtype=np.uint16).reshape(height, width, channels)
    cut = Tiling(height, width, min(height, tile_height), min(width, tile_width))
    found = np.zeros_like(picture)
    for first in range(0, cut.num_tiles, 7):
        tiles = cut.cut(picture, slice(first, min(first + 7, cut.num_tiles)))
        # What is beyond the picture is one of its edge pixels.
        assert np.isin(tiles, picture).all()
        cut.put(found, first, tiles)
    np.testing.assert_array_equal(found, picture)


@pytest.mark.parametrize(
    ("side", "tile", "beyond"),
    [(384, 384, 0), (385, 193, 1), (3000, 375, 0), (8000, 381, 1), (4730, 364, 2), (1, 1, 0)],
)
def test_little_of_a_tiling_lies_beyond_the_picture(side, tile, beyond):
    found = Tiling.of(side, 400)
    assert (found.tile_height, found.tile_width) == (tile, 200)
    assert tile * found.num_tiles // 2 - side == beyond


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("channels", "dtype", "step"),
    [(1, np.uint8, 1), (3, np.uint8, 1), (4, np.uint8, 1), (1, np.uint16, 1), (1, np.uint8, 5)],
)
def test_a_picture_in_tiles_comes_back_alone_and_among_others(tmp_path, channels, dtype, step):
    model = random_model(channels * np.dtype(dtype).itemsize, 8 * np.dtype(dtype).itemsize)
    large = likely_images(model, 2, 29, 31) // step * step
    small = likely_images(model, 3, 5, 6) // step * step
    assert (large.shape[3], large.dtype) == (channels, dtype)
    batches = [
        (small, ["a", "b", "c"], step), (large, ["d", "e"], step), (small,), (large[:1], (), step),
    ]  # fmt: skip
    path = written(tmp_path / "x.cae", model, *batches)
    expected = [*small, *large, *small, large[0]]
    with ImageArchive(path, [model]) as archive:
        assert len(archive) == 9
        for index in (8, 0, 3, 4, 5, -1):
            np.testing.assert_array_equal(archive[index], expected[index])
        assert archive.kinds() == {(large.shape[1:], large.dtype), (small.shape[1:], small.dtype)}
        parts = list(archive.read())
        num_blocks = [picture and picture.num_blocks for picture, _ in archive.parts()]
        methods = {block.kind.method for block in archive.blocks()}
    assert [names for _, names in parts] == [("a", "b", "c"), ("d",), ("e",), (), ()]
    for found, image in zip((one for part, _ in parts for one in part), expected, strict=True):
        np.testing.assert_array_equal(found, image)
        assert found.dtype == dtype
    in_tiles = 3 if large[0].nbytes < 1000 else 9
    assert num_blocks == [None, in_tiles, in_tiles, None, in_tiles]
    assert Method.CONTEXTS in methods


@pytest.mark.usefixtures("small_tiles")
def test_blocks_of_a_picture_may_be_coded_in_different_ways(tmp_path):
    picture = likely_images(random_model(), 1, 48, 48)
    picture[:, :, :24] = np.random.default_rng(0).integers(0, 256, (1, 48, 24, 1))
    path = written(tmp_path / "x.cae", random_model(), (picture,))
    with ImageArchive(path, [random_model()]) as archive:
        methods = [block.kind.method for block in archive.blocks()]
        assert methods == [Method.STORED, Method.CONTEXTS] * 4
        np.testing.assert_array_equal(archive[0], picture[0])


@pytest.mark.parametrize(("height", "width"), [(1, 65_536), (65_536, 2), (3, 21_000), (700, 1500)])
def test_pictures_that_are_no_block_of_their_own_are_in_tiles(tmp_path, height, width):
    picture = smooth_images(1, height, width, 1)
    path = written(tmp_path / "x.cae", random_model(), (picture, ["long"]))
    ((found, names),) = read_all(path, random_model())
    np.testing.assert_array_equal(found, picture)
    assert names == ("long",)


def test_small_images_are_written_to_the_byte_as_before_there_were_tiles(tmp_path):
    path = written(
        tmp_path / "x.cae",
        random_model(3),
        (smooth_images(700, 20, 20, 3), [f"{index}.png" for index in range(700)]),
        (smooth_images(1, 250, 260, 3), (), 1),
        (smooth_images(2, 9, 9, 1, np.uint16), (), 1),
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == GOLDEN


GOLDEN = "d59b3b3e94d3efca48f5a29a5f03d1aa1bed257d61c282513ab72e24cc473656"


@pytest.fixture
def codec():
    """A codec of gray images that nobody trained; it knows no latents."""
    return FittedCodec(None, random_model(), None)


@pytest.mark.usefixtures("small_tiles")
def test_pictures_in_tiles_are_appended_as_if_written_at_once(codec, tmp_path):
    large, small = likely_images(random_model(), 3, 29, 31), likely_images(random_model(), 4, 6, 7)
    path, whole = tmp_path / "x.cae", tmp_path / "whole.cae"
    codec.compress(small, path, names=["a", "b", "c", "d"])
    codec.compress(large[:2], path, names=["e", "f"], append=True)
    found = codec.compress(large[2:], path, append=True)
    batches = [(small, ["a", "b", "c", "d"]), (large[:2], ["e", "f"]), (large[2:], [])]
    assert found == codec.compress(iter(batches), whole)
    assert path.read_bytes() == whole.read_bytes()
    assert (found.num_images, found.num_raw_bytes) == (7, large.size + small.size)
    for name in ("f", "a"):
        with pytest.raises(ParameterError, match=f"once in an archive; received '{name}' again"):
            codec.compress(large[:1], path, names=[name], append=True)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("chunk", [100, 1 << 22])
def test_an_error_is_kept_to_and_measured_in_tiles_and_in_parts(
    codec, tmp_path, monkeypatch, chunk
):
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", chunk)
    images = np.random.default_rng(0).integers(0, 256, (2, 29, 31, 1)).astype(np.uint8)
    summary = codec.compress(images, tmp_path / "x.cae", max_error=3)
    with codec.open(tmp_path / "x.cae") as archive:
        found = np.stack(list(archive))
        assert {block.kind.step for block in archive.blocks()} == {7}
    difference = found.astype(int) - images
    assert np.abs(difference).max() == 3
    assert summary.mse == pytest.approx(np.square(difference / 255).mean(), rel=1e-12)


@pytest.mark.usefixtures("small_tiles")
def test_pictures_in_tiles_are_unpacked_as_an_array_and_as_files(codec, tmp_path):
    large = likely_images(random_model(), 3, 29, 31)
    codec.compress(large, tmp_path / "x.cae", names=["a", "b", "c"])
    with codec.open(tmp_path / "x.cae") as archive:
        assert write_array(archive, tmp_path / "x.npy").figures["num_images"] == 3
        assert write_pictures(archive, tmp_path / "out").figures["num_images"] == 3
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), large[..., 0])
    for name, image in zip("abc", large, strict=True):
        np.testing.assert_array_equal(read_exact(tmp_path / "out" / f"{name}.png"), image)


@pytest.mark.usefixtures("small_tiles")
def test_no_more_than_a_group_of_tiles_is_coded_at_a_time(tmp_path, monkeypatch):
    encoded, decoded = [], []

    def encode(images, *others):
        encoded.append(len(images))
        return encode_blocks(images, *others)

    def decode(blocks, *others):
        decoded.append(sum(block.kind.num_images for block in blocks))
        return decode_blocks(blocks, *others)

    monkeypatch.setattr("convae.coding.archive.encode_blocks", encode)
    monkeypatch.setattr("convae.coding.archive.decode_blocks", decode)
    picture = likely_images(random_model(), 1, 49, 60)
    path = written(tmp_path / "x.cae", random_model(), (picture,))
    ((found, _),) = read_all(path, random_model())
    np.testing.assert_array_equal(found, picture)
    # Tiles of 10 x 12, of which 6 are 720 bytes, and 4 have 6 x 14 x 20 bytes with their margins.
    assert (max(encoded), sum(encoded)) == (6, 25)
    assert (max(decoded), sum(decoded)) == (6, 25)


def test_packing_tiles_with_lzma_takes_memory_for_these_alone():
    tiles = np.zeros((4, 64, 64, 1), np.uint8)
    peaks = []
    for small in (True, False):
        tracemalloc.start()
        (block,) = encode_blocks(tiles, (), random_model(3), 1, 1, small_memory=small)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert block.kind.method is Method.STORED
        np.testing.assert_array_equal(decode_blocks([block], random_model(3)), tiles)
    assert peaks[0] < 4 << 20 < 64 << 20 < peaks[1]


def test_what_is_too_large_is_refused_before_anything_is_written(tmp_path):
    huge = np.broadcast_to(np.zeros((1, 1, 1, 1), np.uint8), (1, 8192, 8193, 1))
    with (tmp_path / "x.cae").open("wb") as stream:
        writer = ArchiveWriter(stream, random_model(), "m")
        before = stream.tell()
        with pytest.raises(ImageError, match="at most 67,108,864 pixels; received one of 8,192 x"):
            writer.add(huge)
        assert stream.tell() == before
        assert writer.num_images == 0


@pytest.mark.usefixtures("small_tiles")
def test_no_changed_bit_of_a_picture_and_no_lost_record_gets_through(tmp_path):
    picture = likely_images(random_model(), 1, 25, 26)
    path = written(tmp_path / "x.cae", random_model(), (picture, ["a"]))
    data = path.read_bytes()
    parts = list(records(data))
    assert [kind for kind, _ in parts] == [b"H", b"P", *[b"B"] * 3, b"I"]
    assert assemble(parts) == data
    changes = [
        data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
        for place in range(0, len(data), 3)
    ]
    changes += [assemble(parts[:lost] + parts[lost + 1 :]) for lost in range(2, 5)]
    changes += [assemble([*parts[:2], parts[3], parts[2], *parts[4:]])]
    changes += [assemble([*parts[:3], (b"X", b""), *parts[3:]])]
    changes += [assemble([*parts[:2], parts[2], *parts[2:]])]
    for changed in changes:
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"x\.cae|An archive must"):
            read_all(path, random_model())


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ((0, "<B"), 7, "a picture of 1 channels, 7 bits and 0"),
        ((0, "<B"), 16, "a block of shape"),
        ((1, "<B"), 0, "a picture of 0 channels"),
        ((1, "<B"), 5, "a picture of 5 channels"),
        ((1, "<B"), 3, "a block of shape"),
        ((2, "<H"), 1, "8 bits and 1"),
        ((4, "<I"), 0, "a picture of 0 x 26 pixels"),
        ((4, "<I"), 2**32 - 1, "a picture of 4294967295 x 26 pixels"),
        ((4, "<I"), 2**21, "3 blocks of 699051 tiles"),
        ((4, "<I"), 24, "checksum"),
        ((4, "<I"), 28, "9 tiles or more in a picture of 12"),
        ((4, "<I"), 18, "tiles or more in a picture of 6"),
        ((8, "<I"), 2**31, "pixels"),
        ((12, "<I"), 0, "tiles of 0 x 9"),
        ((12, "<I"), 26, "tiles of 26 x 9 in a picture of 25 x 26"),
        ((12, "<I"), 10, "a block of shape"),
        ((16, "<I"), 0, "tiles of 9 x 0"),
        ((16, "<I"), 27, "tiles of 9 x 27"),
        ((20, "<I"), 0, "0 blocks of 9 tiles"),
        ((20, "<I"), 10, "10 blocks of 9 tiles"),
        ((20, "<I"), 2**32 - 1, "blocks of 9 tiles"),
        ((20, "<I"), 4, "a record of kind b'I' among|that lacks 1 blocks"),
        ((20, "<I"), 2, "8 tiles or more in a picture of 9"),
        ((24, "<I"), 0, "a picture whose checksum is another one"),
    ],
)
def test_a_hostile_picture_is_refused(tmp_path, place, value, text):
    picture = likely_images(random_model(), 1, 25, 26)
    path = written(tmp_path / "x.cae", random_model(), (picture,))
    parts = list(records(path.read_bytes()))
    payload = bytearray(parts[1][1])
    offset, kind = place
    struct.pack_into(kind, payload, offset, value)
    parts[1] = b"P", bytes(payload)
    path.write_bytes(assemble(parts))
    with pytest.raises(ModelFileError, match=text):
        read_all(path, random_model())


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("name", [b"a\0b", b"n" * 4097])
def test_a_hostile_name_of_a_picture_is_refused(tmp_path, name):
    path = written(tmp_path / "x.cae", random_model(), (likely_images(random_model(), 1, 25, 26),))
    parts = list(records(path.read_bytes()))
    parts[1] = b"P", parts[1][1] + name
    path.write_bytes(assemble(parts))
    with pytest.raises(ModelFileError, match="as the name of a picture"):
        read_all(path, random_model())


def test_few_bytes_that_claim_a_huge_picture_take_no_memory(tmp_path):
    picture = Picture(Tiling(8192, 8192, 384, 384), 16, 4, 1, 0)
    path = written(tmp_path / "x.cae", random_model(), (smooth_images(1, 9, 9, 1),))
    parts = list(records(path.read_bytes()))
    path.write_bytes(
        assemble([(b"H", b"\2" + parts[0][1][1:]), (b"P", picture.to_bytes()), *parts[1:]])
    )
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="a block of shape"):
            read_all(path, random_model())
        # The picture itself is asked for at once, but the system gives no memory that is not used.
        assert tracemalloc.get_traced_memory()[1] < (1 << 29) + (16 << 20)
    finally:
        tracemalloc.stop()
