"""Codes of latents and the decoder in integers, without any network behind them."""

import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from convae.coding.archive import ArchiveWriter, ImageArchive
from convae.coding.decoder import IntegerDecoder, largest_sums, table_shapes
from convae.coding.latents import NUM_VALUES, LatentModel, bounds_of
from convae.coding.packing import pack, unpack
from convae.coding.rans import TOTAL
from convae.errors import ModelFileError, ParameterError
from convae.storage.modelfile import FittedJob

SHAPE, FILTERS, NUM_CODES = (9, 11, 3), (4, 6), 5
GOLDEN = "541db359997de1f9a8bee7f9a7100043aae3eff6971c4271d7b4da8d32ac7f13"


def random_tables(seed=0):
    random = np.random.default_rng(seed)
    limits = {"volume/weights": 900, "pixels/weights": 60, "weights": 60, "offsets": 50_000}
    tables = {}
    for name, (kind, shape) in table_shapes(SHAPE, FILTERS, NUM_CODES).items():
        limit = limits.get(name, limits.get(name.rpartition("/")[2], 5000))
        tables[name] = random.integers(-limit, limit, shape, endpoint=True).astype(kind)
    tables["shifts"] = np.array([6, 8, 8, 5], np.uint8)
    tables["logits"] = np.linspace(0, 255, 1024).astype(np.uint8)
    return tables


def random_codes(count, seed=0):
    return (
        np.rint(12 * np.random.default_rng(seed).standard_normal((count, NUM_CODES)))
        .clip(-63, 63)
        .astype(np.int64)
    )


def random_latent_model(seed=0):
    nothing = np.zeros((0, NUM_CODES), np.float32)
    return LatentModel(
        IntegerDecoder(SHAPE, random_tables(seed)),
        bounds_of(random_codes(500)),
        nothing,
        np.zeros(0, np.float32),
    )


def transposed(volume, kernel, stride):
    """The transposed convolution of integers, by loops, with all that it reaches."""
    count, rows, columns, _ = volume.shape
    sums = np.zeros(
        (count, stride * (rows - 1) + 3, stride * (columns - 1) + 3, kernel.shape[3]), np.int64
    )
    for row, column, i, j in itertools.product(range(rows), range(columns), range(3), range(3)):
        sums[:, stride * row + i, stride * column + j] += volume[:, row, column] @ kernel[i, j]
    return sums


def by_hand(codes, tables, merged):
    """The images of codes, with sums of 64-bit integers by loops, and single steps of float32."""
    wide = {name: table.astype(np.int64) for name, table in tables.items()}

    def shifted(sums, name, layer):
        sums = sums + wide[f"{name}/bias"]
        assert abs(sums).max() < 2**24
        return sums.astype(np.float32) / np.float32(2 ** wide["shifts"][layer])

    def whole(sums):
        return np.floor(sums).clip(-1023, 1023).astype(np.int64)

    if merged:
        # Each weight of the codes, and in the end the bias, through both layers.
        volume = np.concatenate([wide["volume/weights"], wide["volume/bias"][np.newaxis]])
        sums = transposed(volume.reshape(-1, 3, 3, 6), wide["0/weights"], 2)[:, :-1, :-1]
        sums[-1] += wide["0/bias"] << wide["shifts"][0]
        # No rounding error of theirs reaches a unit; half of one is added, to round to the nearest.
        for shift in range(int(wide["shifts"][:2].sum()) + 1):
            near = (sums + (1 << shift >> 1)) >> shift
            if (63 * np.abs(near[:-1]).sum(axis=0) + np.abs(near[-1])).max() < 2**24:
                break
        sums = np.einsum("ni,irco->nrco", codes, near[:-1]) + near[-1]
        first = sums.astype(np.float32) / np.float32(2.0 ** (wide["shifts"][:2].sum() - shift))
    else:
        half = 1 << wide["shifts"][0] >> 1
        volume = whole(shifted(codes @ wide["volume/weights"] + half, "volume", 0))
        volume = volume.reshape(len(codes), 3, 3, 6)
    for stage in range(2):
        if stage or not merged:
            sums = transposed(volume, wide[f"{stage}/weights"], 2)[:, :-1, :-1]
            sums = shifted(sums, stage, 1 + stage)
        else:
            sums = first
        sums = np.where(sums > 0, sums, sums * np.float32(0.2))
        volume = whole(sums + (tables[f"{stage}/offsets"] / 1024).astype(np.float32))
    sums = transposed(volume, wide["pixels/weights"], 1)[:, 2:11, 1:12]
    logits = shifted(sums, "pixels", 3) + np.float32(512)
    assert logits.shape[1:] == SHAPE
    return tables["logits"][np.floor(logits).clip(0, 1023).astype(np.int64)]


@pytest.mark.parametrize("merged", [True, False])
def test_the_decoder_computes_what_integers_of_any_size_do(merged, monkeypatch):
    monkeypatch.setattr("convae.coding.decoder.LARGEST_MERGED", 5 * 4 * 9 * 6 - (not merged))
    codes = random_codes(7)
    tables = random_tables()
    found = IntegerDecoder(SHAPE, tables).decode(codes)
    assert len(np.unique(found)) > 100
    np.testing.assert_array_equal(found, by_hand(codes, tables, merged))


def test_the_pixels_are_always_these_in_parts_and_together(monkeypatch):
    codes = random_codes(40)
    decoder = IntegerDecoder(SHAPE, random_tables())
    found = decoder.decode(codes)
    assert hashlib.sha256(found.tobytes()).hexdigest() == GOLDEN
    monkeypatch.setattr("convae.coding.decoder.BATCH_NUMBERS", 1)
    with ThreadPoolExecutor(3) as pool:
        for run in (map, pool.map):
            np.testing.assert_array_equal(decoder.decode(codes, run), found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("volume/bias", 2**24), ("0/weights", 2000), ("1/offsets", 2**24), ("pixels/bias", 2**24),
    ],
)  # fmt: skip
def test_tables_that_let_a_sum_be_inexact_are_refused(name, value):
    tables = random_tables()
    assert max(largest_sums(tables)) < 2**24
    tables[name] = np.full_like(tables[name], value)
    with pytest.raises(ParameterError, match="sums must stay below 16,777,216"):
        IntegerDecoder(SHAPE, tables)


@pytest.mark.parametrize("name", list(random_tables()))
def test_other_tables_are_refused(name):
    good = random_tables()
    for bad in (good[name].astype(np.float32), good[name][..., :-1]):
        with pytest.raises(ParameterError, match=r"must be|must have"):
            IntegerDecoder(SHAPE, {**good, name: bad})
    del good[name]
    with pytest.raises(ParameterError, match=r"must be|must have"):
        IntegerDecoder(SHAPE, good)
    good = random_tables()
    good["shifts"][0] = 41
    with pytest.raises(ParameterError, match="shifts must be at most 40"):
        IntegerDecoder(SHAPE, good)


def test_codes_come_back_as_the_images_of_their_decoder(tmp_path):
    model, codes, path = random_latent_model(), random_codes(90), tmp_path / "x.cae"
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, model, "m")
        writer.add_codes(codes[:70], [str(index) for index in range(70)])
        writer.add_codes(codes[70:])
        size = writer.close()
    expected = model.decoder.decode(codes)
    with ImageArchive(path, [model]) as archive:
        np.testing.assert_array_equal(np.stack(list(archive)), expected)
        assert [len(part) for part, _ in archive.read()] == [70, 20]
    # About log2(12 sqrt(2 pi e)) bits a code.
    assert size < 300 + 90 * NUM_CODES * 6 / 8
    streams = model.encode(codes, 3, 2)
    np.testing.assert_array_equal(model.decode(streams, 45, 3), expected)


def test_bounds_follow_counts_and_leave_no_value_out():
    codes = random_codes(300)
    bounds = bounds_of(codes)
    assert bounds.shape == (NUM_CODES, NUM_VALUES + 1)
    assert (np.diff(bounds, axis=1) >= 1).all()
    assert (bounds[:, [0, -1]] == [0, TOTAL]).all()
    shares = np.diff(bounds[0]) / TOTAL
    assert shares[63 - 20 : 63 + 21].sum() > 0.85
    assert bounds_of(np.zeros((4, 1), np.int64))[0, 64] > 0.8 * TOTAL


def test_a_model_of_latents_packs_and_keeps_in_a_job():
    model = random_latent_model()
    assert LatentModel.unpack(model.pack()).identity == model.identity
    again = LatentModel.from_job(model.to_job(), "x")
    assert again.identity == model.identity
    assert random_latent_model(1).identity != model.identity
    # However a file orders its tables.
    job = model.to_job()
    turned = FittedJob(job.settings, dict(reversed(job.tables.items())))
    assert LatentModel.from_job(turned, "x").identity == model.identity


@pytest.mark.parametrize(
    ("settings", "tables", "text"),
    [
        ({}, {}, "a shape of three numbers"),
        ({"shape": [9, 11]}, {}, "a shape of three numbers"),
        ({"shape": [9, 11, True]}, {}, "channels must be a whole number"),
        ({"shape": [7, 11, 3]}, {}, "height must be from 8"),
        ({"shape": [17, 11, 3]}, {}, "must be"),
        ({"shape": [9, 11, 3]}, {"bounds": None}, "must have"),
        ({"shape": [9, 11, 3]}, {"bounds": np.zeros((5, 128), np.int32)}, "bounds must rise"),
        (
            {"shape": [9, 11, 3]},
            {"bounds": np.zeros((5, 127), np.int32)},
            "bounds must be an int32 array",
        ),
        ({"shape": [9, 11, 3]}, {"bounds": np.array(3, np.int32)}, "received int32 of shape"),
        ({"shape": [9, 11, 3]}, {"mean": np.array(3, np.float32)}, "received float32 of shape"),
        ({"shape": [9, 11, 3]}, {"volume/weights": np.array(3, np.int16)}, "latent_dim must be"),
        ({"shape": [9, 11, 3]}, {"0/offsets": np.zeros(0, np.int32)}, "each of filters must be"),
        (
            {"shape": [9, 11, 3]},
            {"logits": np.array(3, np.uint8)},
            "logits must be a uint8 array",
        ),
        ({"shape": [65_536, 65_536, 3]}, {}, "A network may have at most"),
        (
            {"shape": [9, 11, 3]},
            {"mean": np.zeros(3, np.float32)},
            "analysis must be a float32 array",
        ),
    ],
)
def test_a_hostile_job_is_refused(settings, tables, text):
    job = random_latent_model().to_job()
    found = {**job.tables, **tables}
    found = {name: table for name, table in found.items() if table is not None}
    with pytest.raises(ModelFileError, match=text):
        LatentModel.from_job(FittedJob(settings, found), "model.safetensors")


def test_hostile_packed_bytes_are_refused():
    good = random_latent_model().pack()
    for bad in (b"", good[:9], good[:40], b"\x01" + good[1:], b"\x00"):
        with pytest.raises(ParameterError, match=r"packed|LZMA"):
            LatentModel.unpack(bad)
    # 65,536 x 65,536 pixels of a first volume of 65,536 channels are asked for in a few bytes.
    with pytest.raises(ParameterError, match="at most 67,108,864 bytes"):
        LatentModel.unpack(pack([65_536, 65_536, 3, 5, 65_536], {}))
    assert unpack(pack([1, 2], {}), lambda numbers: {})["head"].tolist() == [1, 2]
