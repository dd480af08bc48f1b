"""Blocks and the archive: what goes in comes out, and nothing else does."""

import io
import lzma
import struct
import tracemalloc
import zlib
from contextlib import nullcontext

import numpy as np
import pytest
from coders import likely_images, random_model, smooth_images

from convae.coding.archive import ArchiveWriter, ImageArchive
from convae.coding.blocks import Block, Kind, Method, block_size, decode_blocks, encode_blocks
from convae.coding.contextmodel import ContextModel
from convae.coding.decoder import IntegerDecoder, table_shapes
from convae.coding.grouping import blocks_together
from convae.coding.latents import LatentModel, bounds_of
from convae.coding.records import END, MAGIC
from convae.errors import ModelFileError, ParameterError
from convae.storage.modelfile import FittedJob


def written(path, model, *batches, **options):
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, model, "parts.safetensors", **options)
        for batch in batches:
            writer.add(*batch)
        assert writer.close() == stream.tell()
    return path


@pytest.fixture
def archive(tmp_path):
    """40 images in blocks of 16 or fewer, with names."""
    images = likely_images(random_model(), 40, 9, 10)
    names = [f"a/{index}.png" for index in range(40)]
    return written(tmp_path / "x.cae", random_model(), (images, names)), images, names


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("convae.coding.archive.BLOCK_BYTES", 16 * 90)
    monkeypatch.setattr("convae.coding.archive.GROUP_BYTES", 32 * 90)


def test_images_come_back_one_by_one_and_together_with_their_names(archive):
    path, images, names = archive
    with ImageArchive(path, [random_model()]) as opened:
        assert len(opened) == 40
        assert [block.kind.num_images for block in opened.blocks()] == [13, 13, 13, 1]
        for index in (0, 15, 16, 39, -1, -40):
            np.testing.assert_array_equal(opened[index], images[index])
        np.testing.assert_array_equal(np.stack(opened[30:36:2]), images[30:36:2])
        parts = list(opened.read())
        np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
        assert [name for _, part in parts for name in part] == names
        for bad in (40, -41):
            with pytest.raises(IndexError, match=f"has 40 images; received the index {bad}"):
                opened[bad]


def test_an_archive_of_nothing_is_one(tmp_path):
    path = written(tmp_path / "x.cae", random_model())
    with ImageArchive(path, [random_model()]) as opened:
        assert len(opened) == 0
        assert list(opened.read()) == []
    assert path.stat().st_size < 100


def test_images_of_many_kinds_stand_together(tmp_path):
    kinds = [
        smooth_images(3, 9, 10, 1),
        smooth_images(2, 30, 7, 1),
        smooth_images(2, 9, 10, 3),
        smooth_images(2, 9, 10, 1, np.uint16),
        smooth_images(1, 1, 1, 2),
    ]
    path = written(tmp_path / "x.cae", random_model(), *[(images,) for images in kinds])
    with ImageArchive(path, [random_model()]) as opened:
        for part, images in zip(opened.read(), kinds, strict=True):
            np.testing.assert_array_equal(part[0], images)
            assert part[0].dtype == images.dtype
            assert part[1] == ()


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (4, np.uint8), (1, np.uint16)])
def test_planes_of_every_kind_are_coded_by_contexts(channels, dtype):
    model = random_model(channels * np.dtype(dtype).itemsize, 8 * np.dtype(dtype).itemsize)
    images = likely_images(model, 6, 9, 10)
    assert (images.shape, images.dtype) == ((6, 9, 10, channels), dtype)
    blocks = encode_blocks(images, (), model, 1, 2)
    kind = Kind(Method.CONTEXTS, model.bits, 3, 9, 10, channels, 1, 1)
    assert [block.kind for block in blocks] == [kind, kind]
    np.testing.assert_array_equal(
        np.concatenate([decode_blocks([block], model) for block in blocks]), images
    )


def test_the_shorter_way_is_taken():
    # No network codes noise as well as storing it does.
    noise = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 1)).astype(np.uint8)
    (block,) = encode_blocks(noise, (), random_model(), 1, 1)
    assert block.kind.method is Method.STORED
    assert len(block.stream) < noise.size + 20
    np.testing.assert_array_equal(decode_blocks([block], random_model()), noise)


def test_the_wrong_model_is_refused_by_name(archive):
    path = archive[0]
    identity = random_model().identity.hex()[:16]
    with pytest.raises(ModelFileError, match=rf"parts\.safetensors \({identity}\); received none"):
        ImageArchive(path)
    with pytest.raises(ModelFileError, match=rf"parts\.safetensors \({identity}\); received one"):
        ImageArchive(path, [random_model(seed=1)])


def test_with_its_model_an_archive_needs_no_other(tmp_path):
    images = smooth_images(4, 9, 10, 3)
    model = random_model(3)
    path = written(tmp_path / "x.cae", model, (images,), with_model=True)
    for given in ((), [random_model()]):
        with ImageArchive(path, given) as opened:
            assert opened.model.identity == model.identity
            np.testing.assert_array_equal(opened[3], images[3])


def test_no_changed_bit_and_no_cut_gets_through(tmp_path, monkeypatch):
    # Three small blocks with names: each kind of record is there, and is quickly decoded.
    monkeypatch.setattr("convae.coding.archive.BLOCK_BYTES", 2 * 90)
    images = likely_images(random_model(), 6, 9, 10)
    path = written(tmp_path / "x.cae", random_model(), (images, [f"a/{i}.png" for i in range(6)]))
    data = path.read_bytes()
    assert [kind for kind, _ in records(data)] == [b"H", b"B", b"B", b"B", b"I"]
    model, other = random_model(), tmp_path / "y.cae"
    random = np.random.default_rng(0)
    changes = [data[:length] for length in random.integers(0, len(data), 100)]
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << random.integers(8)
        changes.append(bytes(changed))
    for changed in changes:
        other.write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"y\.cae|An archive must"):
            read_all(other, model)
    other.write_bytes(data)
    np.testing.assert_array_equal(read_all(other, model), images)


def read_all(path, model):
    with ImageArchive(path, [model]) as opened:
        return np.concatenate([part for part, _ in opened.read()])


def records(data):
    """Kind and contents of each record of an archive."""
    place = len(MAGIC)
    while place < len(data) - 12:
        kind, length, _ = struct.unpack_from("<cII", data, place)
        yield kind, data[place + 9 : place + 9 + length]
        place += 9 + length


def assemble(parts):
    """An archive of records with correct checksums, and an index of the blocks among them."""
    stream, entries, of_picture = io.BytesIO(), [], 0
    stream.write(MAGIC)
    for kind, payload in parts:
        if kind == b"P":
            entries.append(struct.pack("<QI", stream.tell(), 1))
            (of_picture,) = struct.unpack_from("<I", payload, 20)
        elif kind == b"B" and of_picture:
            of_picture -= 1
        elif kind == b"B":
            (num_images,) = struct.unpack_from("<I", payload, 12)
            entries.append(struct.pack("<QI", stream.tell(), num_images))
        if kind == b"I":
            payload, start = b"".join(entries), stream.tell()
        crc = zlib.crc32(payload, zlib.crc32(kind))
        stream.write(struct.pack("<cII", kind, len(payload), crc) + payload)
    return stream.getvalue() + struct.pack("<Q4s", start, END)


@pytest.mark.parametrize("kept", [slice(0, 0), slice(0, 3), slice(1, 4), slice(None, None, -1)])
def test_an_index_that_leaves_a_block_out_is_refused(archive, kept):
    path = archive[0]
    data = path.read_bytes()
    *_, (_, index) = records(data)
    entries = [index[12 * number :][:12] for number in range(4)]
    start = len(data) - 12 - 9 - len(index)
    other = b"".join(entries[kept])
    crc = zlib.crc32(other, zlib.crc32(b"I"))
    head = struct.pack("<cII", b"I", len(other), crc)
    path.write_bytes(data[:start] + head + other + struct.pack("<Q4s", start, END))
    with pytest.raises(ModelFileError, match="an index that names other blocks than there are"):
        ImageArchive(path, [random_model()])


def test_an_archive_put_together_by_hand_is_one(archive):
    path, images, _ = archive
    data = path.read_bytes()
    assert assemble(records(data)) == data
    np.testing.assert_array_equal(read_all(path, random_model()), images)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ((0, "<B"), 3, "method 3"),
        ((0, "<B"), 2, "method 2, 1 channels"),
        ((0, "<B"), 0, "An archive must hold what was written"),
        ((1, "<B"), 7, "7 bits"),
        ((1, "<B"), 16, "1 channels of 16 bits for a model of contexts, 1 of 8"),
        ((2, "<B"), 5, "shape"),
        ((2, "<B"), 3, "3 channels of 8 bits for a model of contexts, 1 of 8"),
        ((3, "<B"), 1, "8 bits and 1"),
        ((4, "<H"), 0, "too few for 65536 lanes"),
        ((4, "<H"), 2, "received '|checksum"),
        ((6, "<H"), 0, "a step of 0"),
        ((6, "<H"), 256, "a step of 256"),
        ((6, "<H"), 3, "received '|checksum"),
        ((8, "<H"), 0, "shape"),
        ((8, "<H"), 65_535, "too large"),
        ((10, "<H"), 11, "received '|checksum"),
        ((12, "<I"), 0, "a block of 0 images"),
        ((12, "<I"), 4097, "a block of 4097 images"),
        ((12, "<I"), 15, "names for 15 images"),
        ((16, "<I"), 0, "checksum"),
        ((20, "<I"), 2**31, "names of 2147483648 bytes"),
        ((20, "<I"), 3, "names that gave|names for"),
    ],
)
def test_a_hostile_block_is_refused(archive, place, value, text):
    path = archive[0]
    parts = list(records(path.read_bytes()))
    offset, kind = place
    number = next(index for index, (what, _) in enumerate(parts) if what == b"B")
    payload = bytearray(parts[number][1])
    struct.pack_into(kind, payload, offset, value)
    parts[number] = b"B", bytes(payload)
    path.write_bytes(assemble(parts))
    with pytest.raises(ModelFileError, match=text):
        read_all(path, random_model())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda parts: parts[1:], "no header"),
        (lambda parts: [(b"H", b"\3" + parts[0][1][1:]), *parts[1:]], "version 3 of the format"),
        (lambda parts: [parts[0], (b"M", b"C"), *parts[1:]], "must be whole"),
        (
            lambda parts: [parts[0], (b"M", b"C\4" + struct.pack("<4I", 8, 5, 8, 0)), *parts[1:]],
            "1 to 4 planes",
        ),
        (
            lambda parts: [
                parts[0],
                (b"M", b"C\4" + struct.pack("<4I", 8, 1, 8, 0) + b"abc"),
                *parts[1:],
            ],
            "must be whole|hold",
        ),
        (lambda parts: [*parts[:-1], (b"X", b""), parts[-1]], None),
    ],
)
def test_hostile_records_are_refused_and_unknown_ones_passed_over(archive, change, text):
    path, images, _ = archive
    path.write_bytes(assemble(change(list(records(path.read_bytes())))))
    if text is None:
        np.testing.assert_array_equal(read_all(path, random_model()), images)
    else:
        with pytest.raises(ModelFileError, match=text):
            read_all(path, random_model())


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "x.cae"
    with pytest.raises(ModelFileError, match=r"opening .*x\.cae gave 'No such file"):
        ImageArchive(path)
    with pytest.raises(ModelFileError, match="gave 'Is a directory'"):
        ImageArchive(tmp_path)
    for data in (b"", b"PNG", MAGIC, MAGIC + bytes(100)):
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"x\.cae must be a whole archive"):
            ImageArchive(path)


def test_few_bytes_that_would_unpack_to_many_take_no_memory(archive):
    path = archive[0]
    parts = list(records(path.read_bytes()))
    bomb = Block(Kind(Method.STORED, 8, 1, 9, 10, 1, 1, 1), 0, (), xz_of_zeros(1 << 30))
    parts[1] = b"B", bomb.to_bytes()
    path.write_bytes(assemble(parts))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            read_all(path, random_model())
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_block_takes_memory_for_its_images_once_more_at_most(archive):
    path = archive[0]
    head, *_, index = records(path.read_bytes())
    data = xz_of_zeros(1 << 26)
    block = Block(Kind(Method.STORED, 8, 1, 1 << 13, 1 << 13, 1, 1, 1), 0, (), data)
    path.write_bytes(assemble([head, (b"B", block.to_bytes()), index]))
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="checksum"):
            read_all(path, random_model())
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_images_of_a_pixel_are_coded_together_as_their_margins_allow():
    block = Block(Kind(Method.STORED, 8, 4096, 1, 1, 1, 1, 1), 0, (), b"")
    groups = list(blocks_together([block] * 300, 1 << 23))
    # A pixel with its margins has 5 x 9 places.
    assert [len(group) for group in groups] == [(1 << 24) // 45 // 4096] * 3 + [27]
    assert list(blocks_together([block] * 2, 1)) == [[block], [block]]


def decoder_of_zeros(shape, filters, num_codes=1):
    tables = {
        name: np.zeros(size, kind)
        for name, (kind, size) in table_shapes(shape, filters, num_codes).items()
    }
    return IntegerDecoder(shape, tables)


def test_few_tables_that_stand_for_a_large_volume_are_refused():
    # Eleven stages end at 2048 x 2048, however small the image is.
    decoder_of_zeros((8, 8, 1), (14, *[1] * 10))
    with pytest.raises(ParameterError, match="at most 134,217,728 numbers; received images"):
        decoder_of_zeros((8, 8, 1), (15, *[1] * 10))
    with pytest.raises(ParameterError, match="at most 67,108,864 numbers for an image"):
        decoder_of_zeros((8192, 8192, 1), (1, 1))


def latent_model(num_codes):
    bounds = bounds_of(np.zeros((3, num_codes), np.int64))
    nothing = np.zeros((0, num_codes), np.float32), np.zeros(0, np.float32)
    return LatentModel(decoder_of_zeros((8, 8, 1), (1,), num_codes), bounds, *nothing)


def test_a_block_of_too_many_codes_is_neither_written_nor_read(tmp_path, monkeypatch):
    model, codes = latent_model(50), np.zeros((30, 50), np.int64)
    path = tmp_path / "x.cae"
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, model, "m", with_model=True)
        for part in (codes[:10], codes[10:20], codes):
            writer.add_codes(part)
        writer.close()
    monkeypatch.setattr("convae.coding.latents.MOST_CODES", 1499)
    with ImageArchive(path) as archive:
        # Two blocks of 10 images are decoded one after the other, since they have 1000 codes.
        assert archive[19].shape == (8, 8, 1)
        assert len(next(archive.read())[0]) == 20
        for refused in (lambda: archive[20], lambda: list(archive.read())):
            with pytest.raises(ModelFileError, match="at most 1,499 codes; received 1,500"):
                refused()
    with pytest.raises(ParameterError, match="at most 1,499 codes; received 1,500"):
        ArchiveWriter(io.BytesIO(), model, "m").add_codes(codes)


def test_a_model_too_large_for_an_archive_is_refused_before_anything_is_written(monkeypatch):
    monkeypatch.setattr("convae.coding.packing.LARGEST_PACKED", 1000)
    for model in (random_model(), latent_model(50)):
        stream = io.BytesIO()
        with pytest.raises(ParameterError, match=r"at most 1,000 bytes; received one of .* Keep"):
            ArchiveWriter(stream, model, "m", with_model=True)
        assert stream.getvalue() == b""
        ArchiveWriter(stream, model, "m")


def xz_of_zeros(num_bytes):
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    part = bytes(1 << 20)
    data = b"".join(packer.compress(part) for _ in range(num_bytes >> 20))
    return data + packer.flush()


@pytest.mark.parametrize(
    ("planes", "bits", "by_distance"), [(1, 8, [0]), (3, 8, []), (3, 8, [0, 2]), (2, 16, [1])]
)
def test_a_model_packs_and_keeps_in_a_job(planes, bits, by_distance):
    model = random_model(planes, bits, by_distance=by_distance)
    for again in (ContextModel.unpack(model.pack()), ContextModel.from_job(model.to_job(), "x")):
        assert again.identity == model.identity
        assert again.by_distance == by_distance
    assert len(model.pack()) < sum(table.nbytes for table in model.to_job().tables.values())
    other = random_model(planes, bits, seed=1, by_distance=by_distance)
    assert other.identity != model.identity
    opposite = sorted(set(range(planes)) - set(by_distance))
    assert random_model(planes, bits, by_distance=opposite).identity != model.identity


@pytest.mark.parametrize(
    ("settings", "tables", "text"),
    [
        ({}, {}, None),
        ({"planes": ...}, {}, "must have bits, planes and by_distance"),
        ({"bits": 9}, {}, "8 or 16 bits|values with 8"),
        ({"bits": 16}, {}, "received 1 planes and 16 bits"),
        ({"planes": 5}, {}, "planes must be from 1 to 4"),
        ({"planes": 2}, {}, "window must be an int16 array of shape"),
        ({"by_distance": 0}, {}, "by_distance, a list"),
        ({"by_distance": [1]}, {}, "by_distance must be from 0 to 0"),
        ({"by_distance": [True]}, {}, "by_distance must be a whole number"),
        ({}, {"1/high": None}, "has no table '1/high'"),
        ({}, {"exponentials": np.zeros(3, np.int32)}, "exponentials must"),
    ],
)
def test_a_hostile_job_is_refused(settings, tables, text):
    job = random_model().to_job()
    changed = {name: value for name, value in (job.settings | settings).items() if value is not ...}
    bad = FittedJob(changed, {**job.tables, **tables})
    with pytest.raises(ModelFileError, match=text) if text else nullcontext():
        ContextModel.from_job(bad, "model.safetensors")


def test_unknown_planes_are_not_coded_by_distance():
    with pytest.raises(ParameterError, match="planes below 2; received flags 0x4"):
        ContextModel.unpack(b"\4" + struct.pack("<4I", 8, 2, 8, 4) + random_model(2).pack()[17:])


def test_networks_of_different_widths_are_refused():
    tables = [dict(random_model(2).networks[0].tables), None]
    tables[1] = dict(random_model(2, hidden=9).networks[1].tables)
    with pytest.raises(ParameterError, match="the same number of hidden units"):
        ContextModel.of(tables, random_model().networks[0].exponentials, 8)


@pytest.mark.parametrize(
    ("num_images", "most", "size"),
    [(1, 5, 1), (5, 5, 5), (10_000, 668, 625), (10_007, 668, 667), (7, 2, 1), (64, 16, 16)],
)
def test_blocks_are_of_one_size_as_far_as_that_goes(num_images, most, size):
    assert block_size(num_images, most) == size
