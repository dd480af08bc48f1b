import dataclasses
import hashlib
import json
import re
import runpy
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from convae.architecture.plan import Architecture
from convae.errors import ModelFileError, ParameterError
from convae.storage.modelfile import (
    FittedJob,
    ModelContents,
    model_identity,
    read_model,
    write_model,
)
from convae.storage.safefile import file_identity, read_tensors, write_tensors

PAGE = Path(__file__).parents[1] / "docs" / "format.md"
with_page = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
SMALL = Architecture(8, 8, 1, filters=(2,), latent_dim=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("modelfile")


def make_contents(architecture=SMALL, seed=0, **changes):
    generator = np.random.default_rng(seed)
    weights = {
        name: generator.random(shape, dtype=np.float32)
        for name, shape in architecture.weight_shapes().items()
    }
    sections = {
        "weights": weights,
        "preprocessing": {"channel_axis": True},
        "data": {"num_images": 60_000, "sha256": "ab" * 32},
        "training": {"history": {"loss": [0.5, 0.25]}},
        "versions": {"keras": "3.9.0"},
    }
    return ModelContents(architecture, **{**sections, **changes})


def stored(contents=None):
    """The tensors and the document of a model file, to be spoiled by a test."""
    contents = contents or make_contents()
    document = {
        "kind": "model",
        "architecture": contents.architecture.to_json(),
        "preprocessing": contents.preprocessing,
        "data": contents.data,
        "training": contents.training,
        "versions": contents.versions,
    }
    return dict(contents.weights), document


def refusal(path, tensors, document):
    write_tensors(path, tensors, document)
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be used: ")
    assert "received " in message
    assert len(message) < 600 + len(str(path))
    return message


architectures = st.builds(
    Architecture,
    height=st.integers(8, 20),
    width=st.integers(8, 20),
    channels=st.sampled_from([1, 3, 4]),
    filters=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    latent_dim=st.integers(1, 4),
)


@settings(deadline=None)  # it waits for the disk
@given(architecture=architectures, seed=st.integers(0, 9), channel_axis=st.booleans())
def test_a_model_comes_back_as_it_was_written(folder, architecture, seed, channel_axis):
    contents = make_contents(architecture, seed, preprocessing={"channel_axis": channel_axis})
    path = folder / "model.safetensors"
    write_model(path, contents)
    back = read_model(path)
    assert back.architecture == architecture
    assert list(back.weights) == list(architecture.weight_shapes())
    for name, array in contents.weights.items():
        assert back.weights[name].dtype == np.float32
        np.testing.assert_array_equal(back.weights[name], array)
    for section in ("preprocessing", "data", "training", "versions"):
        assert getattr(back, section) == getattr(contents, section)


def test_the_document_of_a_file_is_the_one_that_the_format_states(tmp_path):
    path = tmp_path / "a"
    write_model(path, make_contents())
    tensors, document = read_tensors(path)
    assert (set(tensors), document) == (set(stored()[0]), stored()[1])


def test_the_same_contents_give_the_same_bytes_and_the_same_identity(tmp_path):
    write_model(tmp_path / "a", make_contents())
    write_model(tmp_path / "b", make_contents())
    write_model(tmp_path / "c", make_contents(seed=1))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert model_identity(tmp_path / "a") == model_identity(tmp_path / "b")
    assert model_identity(tmp_path / "a") == file_identity(tmp_path / "a")
    assert model_identity(tmp_path / "a") != model_identity(tmp_path / "c")


def test_the_reference_model_is_stored_as_178769_plain_numbers(tmp_path):
    path = tmp_path / "reference.safetensors"
    write_model(path, make_contents(Architecture(28, 28, 1)))
    arrays = safetensors.numpy.load_file(path)
    assert sum(array.size for array in arrays.values()) == 178_769
    assert path.stat().st_size - 4 * 178_769 < 8_192


@with_page
def test_the_documentation_lists_the_tensors_of_the_reference_model():
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"\| `(\w+/\w+/\w+)` \| ([\d, ]+) \| ([\d,]+) \|\n", text)
    shapes = {name: tuple(map(int, shape.split(", "))) for name, shape, _ in rows}
    sizes = [int(size.replace(",", "")) for _, _, size in rows]
    assert list(shapes.items()) == list(Architecture(28, 28, 1).weight_shapes().items())
    assert sizes == [np.prod(shape) for shape in shapes.values()]
    assert f"{len(rows)} tensors, {sum(sizes):,} numbers" in text


@with_page
def test_the_program_of_the_documentation_computes_the_checksum(tmp_path, monkeypatch, capsys):
    program, path = tmp_path / "checksum.py", tmp_path / "model.safetensors"
    text = PAGE.read_text(encoding="utf-8")
    program.write_text(text.partition("```python\n")[2].partition("```")[0])
    write_model(path, make_contents())
    monkeypatch.setattr(sys, "argv", ["checksum.py", str(path)])
    runpy.run_path(str(program))
    assert capsys.readouterr().out == f"{model_identity(path)}\n"


def test_flipped_bits_and_truncations_all_over_the_file_are_refused(tmp_path):
    path = tmp_path / "model"
    write_model(path, make_contents())
    data = path.read_bytes()
    for place in range(0, 8 * len(data), 509):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ModelFileError):
            read_model(path)
    for length in range(0, len(data), 101):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            read_model(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="must exist; received no such file"):
        read_model(tmp_path / "no")
    with pytest.raises(ModelFileError, match="must exist; received no such file"):
        model_identity(tmp_path / "no")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "checkpoint",
            "kind must be 'model'; received 'checkpoint', an unfinished training. "
            "Resume that training and save its model.",
        ),
        ("tables", "kind must be 'model'; received 'tables'. Give the path of a model."),
        (["model"], "kind must be 'model'; received ['model']. Give the path of a model."),
        (None, "kind must be 'model'; received None. Give the path of a model."),
    ],
)
def test_another_kind_of_file_is_refused_by_name(tmp_path, kind, text):
    tensors, document = stored()
    assert text in refusal(tmp_path / "a", tensors, {**document, "kind": kind})


SECTIONS = ["architecture", "preprocessing", "data", "training", "versions"]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_section_is_refused(tmp_path, section):
    tensors, document = stored()
    del document[section]
    message = refusal(tmp_path / "a", tensors, document)
    assert f"The sections must be {sorted(SECTIONS)}; received [" in message
    assert f"'{section}'" not in message.partition("received")[2]


def test_an_unknown_section_is_refused(tmp_path):
    tensors, document = stored()
    message = refusal(tmp_path / "a", tensors, {**document, "code": "x"})
    assert "received ['architecture', 'code', 'data'" in message


@pytest.mark.parametrize(
    ("section", "value", "text"),
    [
        ("preprocessing", [], "preprocessing must be a dict; received []."),
        ("data", None, "data must be a dict; received None."),
        ("training", "x", "training must be a dict; received 'x'."),
        ("versions", 1, "versions must be a dict; received 1."),
        ("versions", {"keras": 3}, "a str for each library; received {'keras': 3}."),
        ("preprocessing", {}, "must be {'channel_axis': True or False}; received {}."),
        ("preprocessing", {"channel_axis": 1}, "received {'channel_axis': 1}."),
        ("preprocessing", {"channel_axis": True, "scale": 1}, "'scale': 1}."),
    ],
)
def test_a_section_of_the_wrong_kind_is_refused(tmp_path, section, value, text):
    tensors, document = stored()
    message = refusal(tmp_path / "a", tensors, {**document, section: value})
    assert f"{text} Get the file again from whoever made it." in message
    with pytest.raises(ParameterError, match=re.escape(text)):
        make_contents(**{section: value})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"height": 7}, "height must be from 8 to 65536; received 7."),
        ({"height": True}, "height must be a whole number from 8 to 65536; received True."),
        ({"width": 8.0}, "width must be a whole number from 8 to 65536; received 8.0."),
        ({"channels": 2}, "channels must be 1 (gray), 3 (RGB) or 4 (RGBA); received 2."),
        ({"filters": []}, "filters must be a tuple of 1 to 11 whole numbers"),
        ({"filters": 2}, "filters must be a list; received 2."),
        ({"filters": [1] * 12}, "filters must be a tuple of 1 to 11 whole numbers"),
        ({"filters": ["x" * 500_000]}, "each of filters must be a whole number"),
        ({"latent_dim": 2**63}, "latent_dim must be from 1 to 1048576"),
        ({"encoder_passes": 17}, "encoder_passes must be from 1 to 16; received 17."),
        ({"encoder_passes": True}, "encoder_passes must be a whole number from 1 to 16"),
        ({"more": 1}, "An architecture must have the keys"),
    ],
)
def test_an_architecture_outside_its_bounds_is_refused(tmp_path, changes, text):
    tensors, document = stored()
    document["architecture"] = {**document["architecture"], **changes}
    assert text in refusal(tmp_path / "a", tensors, document)


@pytest.mark.parametrize("value", [None, [8, 8, 1], "x" * 500_000])
def test_an_architecture_that_is_no_object_is_refused(tmp_path, value):
    tensors, document = stored()
    message = refusal(tmp_path / "a", tensors, {**document, "architecture": value})
    assert "An architecture must have the keys" in message


def test_a_small_file_that_announces_a_giant_network_costs_no_memory(tmp_path):
    giant = Architecture(1024, 1024, 4, filters=(64, 32), latent_dim=20)
    assert giant.num_parameters > 80_000_000
    tensors, document = stored()
    names = giant.weight_shapes()
    document["architecture"] = giant.to_json()
    path = tmp_path / "giant"
    write_tensors(path, {name: np.zeros(1, np.float32) for name in names}, document)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError) as caught:
            read_model(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert (
        "encoder/conv2d_1/kernel must be a float32 array of shape (3, 3, 4, 64); received "
        "float32 of shape (1,)." in str(caught.value)
    )
    assert "missing ['encoder/" in refusal(path, tensors, document)


def test_a_missing_tensor_is_refused(tmp_path):
    tensors, document = stored()
    del tensors["decoder/volume/bias"]
    text = "must be 18 tables; received 17, missing ['decoder/volume/bias'], unknown []."
    assert text in refusal(tmp_path / "a", tensors, document)
    with pytest.raises(ParameterError, match=re.escape(text)):
        make_contents(weights=tensors)


def test_an_unknown_tensor_is_refused(tmp_path):
    tensors, document = stored()
    tensors["encoder/more"] = np.zeros(1, np.float32)
    text = "received 19, missing [], unknown ['encoder/more']"
    assert text in refusal(tmp_path / "a", tensors, document)
    with pytest.raises(ParameterError, match=re.escape(text)):
        make_contents(weights=tensors)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((2, 1), np.float32), "float32 of shape (2, 1)"),
        (np.zeros((), np.float32), "float32 of shape ()"),
        (np.zeros(3, np.float32), "float32 of shape (3,)"),
        (np.zeros(2, np.float64), "float64 of shape (2,)"),
        (np.zeros(2, np.uint8), "uint8 of shape (2,)"),
    ],
)
def test_a_weight_of_the_wrong_shape_or_dtype_is_refused(tmp_path, array, received):
    tensors, document = stored()
    tensors["encoder/conv2d_1/bias"] = array
    text = f"encoder/conv2d_1/bias must be a float32 array of shape (2,); received {received}."
    assert text in refusal(tmp_path / "a", tensors, document)
    with pytest.raises(ParameterError, match=re.escape(text)):
        make_contents(weights=tensors)


@pytest.mark.parametrize(
    "layer", ["encoder/batch_normalization_1", "decoder/batch_normalization_2"]
)
def test_a_negative_variance_is_refused(tmp_path, layer):
    tensors, document = stored()
    tensors[f"{layer}/moving_variance"] = np.float32([1, -0.5])
    text = f"{layer}/moving_variance must hold numbers from 0 to inf; received -0.5 to 1."
    assert text in refusal(tmp_path / "a", tensors, document)
    with pytest.raises(ParameterError, match=re.escape(text)):
        make_contents(weights=tensors)


def test_a_variance_of_zero_is_accepted():
    weights, _ = stored()
    weights["encoder/batch_normalization_1/moving_variance"] = np.float32([0, -0.0])
    make_contents(weights=weights)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_stopped_being_finite_are_not_written(tmp_path, bad):
    contents = make_contents()
    contents.weights["decoder/volume/bias"][:2] = bad
    text = "decoder/volume/bias must hold finite numbers; received 2 that are not."
    with pytest.raises(ParameterError, match=re.escape(text)):
        write_model(tmp_path / "a", contents)
    with pytest.raises(ParameterError, match=re.escape(text)):
        dataclasses.replace(contents)
    assert not (tmp_path / "a").exists()


def test_nan_weights_under_a_right_checksum_are_refused(tmp_path):
    path = tmp_path / "nan"
    write_model(path, make_contents())
    data = path.read_bytes().replace(model_identity(path).encode(), b"0" * 64)
    start = 8 + int.from_bytes(data[:8], "little")
    spoiled = data[:start] + np.float32([np.nan]).tobytes() + data[start + 4 :]
    digest = hashlib.sha256(spoiled).hexdigest().encode()
    path.write_bytes(spoiled.replace(b"0" * 64, digest))
    with pytest.raises(ModelFileError, match="must hold finite numbers; received 1 that are not"):
        read_model(path)


def test_contents_hold_an_architecture_and_arrays():
    with pytest.raises(ParameterError, match="architecture must be an Architecture; received None"):
        dataclasses.replace(make_contents(), architecture=None)
    weights, _ = stored()
    weights["encoder/conv2d_1/bias"] = [0.0, 0.0]
    with pytest.raises(ParameterError, match=r"received list of shape None\."):
        make_contents(weights=weights)


def test_sections_that_are_no_json_are_not_written(tmp_path):
    contents = make_contents(data={"mean": np.float32(1)})
    with pytest.raises(ParameterError, match="must be made of JSON values"):
        write_model(tmp_path / "a", contents)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.just(2**63) | st.just("x"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)  # it waits for the disk
@given(
    sections=st.dictionaries(st.sampled_from([*SECTIONS, "kind", "x"]), json_values, max_size=3),
    numbers=st.dictionaries(st.sampled_from(list(SMALL.to_json())), json_values, max_size=2),
)
def test_odd_documents_under_a_right_checksum_do_no_harm(folder, sections, numbers):
    tensors, document = stored()
    document["architecture"] = {**document["architecture"], **numbers}
    path = folder / "odd"
    write_tensors(path, tensors, json.loads(json.dumps({**document, **sections})))
    try:
        contents = read_model(path)
    except ModelFileError:
        return
    assert contents.architecture == SMALL


def test_a_file_that_announces_more_than_any_network_may_have_is_refused(tmp_path):
    tensors, document = stored()
    document["architecture"] |= {"filters": [65_536] * 11, "latent_dim": 1_048_576}
    assert "A network may have at most 100,000,000 parameters" in refusal(
        tmp_path / "a", tensors, document
    )


def test_a_small_file_that_announces_giant_volumes_is_refused(tmp_path):
    tensors, document = stored()
    document["architecture"] |= {"height": 65_536, "width": 65_536, "filters": [1] * 11}
    assert "Between two layers of a network there may be at most 67,108,864 numbers" in refusal(
        tmp_path / "a", tensors, document
    )


def test_what_jobs_fitted_comes_back_beside_the_weights(tmp_path):
    table = np.arange(6, dtype=np.uint8).reshape(2, 3)
    jobs = {
        "finding": FittedJob({"rate": 0.5, "names": ["a"]}, {"deep/table": table}),
        "no_table": FittedJob({}, {}),
    }
    write_model(tmp_path / "a", make_contents(jobs=jobs))
    found = read_model(tmp_path / "a")
    assert list(found.weights) == list(SMALL.weight_shapes())
    assert set(found.jobs) == set(jobs)
    assert found.jobs["finding"].settings == {"rate": 0.5, "names": ["a"]}
    assert list(found.jobs["finding"].tables) == ["deep/table"]
    np.testing.assert_array_equal(found.jobs["finding"].tables["deep/table"], table)
    assert (found.jobs["no_table"].settings, found.jobs["no_table"].tables) == ({}, {})


@pytest.mark.parametrize("name", ["encoder", "decoder", "Upper", "with/slash", "", "a" * 9 + "\n"])
def test_a_job_has_a_plain_name_of_its_own(tmp_path, name):
    text = (
        "A job's name must be of lower-case letters and underscores, and none of encoder, decoder"
    )
    with pytest.raises(ParameterError, match=text):
        make_contents(jobs={name: FittedJob({}, {})})
    tensors, document = stored()
    assert text in refusal(tmp_path / "a", tensors, {**document, "jobs": {name: {}}})


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        ([], "jobs must be a dict; received []."),
        (None, "jobs must be a dict; received None."),
        ({"finding": 3}, "Job finding must be a dict; received 3."),
    ],
)
def test_jobs_of_the_wrong_kind_are_refused(tmp_path, jobs, text):
    tensors, document = stored()
    assert text in refusal(tmp_path / "a", tensors, {**document, "jobs": jobs})


def test_a_tensor_of_a_job_that_is_not_there_is_refused(tmp_path):
    tensors, document = stored()
    tensors["finding/table"] = np.zeros(2, np.float32)
    text = "missing [], unknown ['finding/table']"
    assert text in refusal(tmp_path / "a", tensors, {**document, "jobs": {"other": {}}})
