import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convae.errors import ModelFileError, ParameterError
from convae.storage.safefile import file_identity, read_tensors, write_tensors

ZEROS = "0" * 64
OWN = {"format": "convae", "format_version": 1, "sha256": ZEROS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("safefile")


def seal(data):
    """Put the right checksum in the place of 64 zeros."""
    digest = hashlib.sha256(data).hexdigest().encode()
    return data.replace(ZEROS.encode(), digest, 1)


def raw_file(header, body=b"", length=None):
    """The bytes of a file whose checksum is right, whatever else is wrong."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return seal((len(raw) if length is None else length).to_bytes(8, "little") + raw + body)


def metadata(**changes):
    document = {key: value for key, value in {**OWN, **changes}.items() if value is not ...}
    return {"convae": json.dumps(document)}


def floats(begin, end, **changes):
    entry = {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}
    return {**entry, **changes}


def with_tensors(**entries):
    return {"__metadata__": metadata(), **entries}


def refusal(path, data=None):
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert "; received " in message
    assert len(message) < 1_000 + len(str(path))
    return message


def small_file(folder):
    path = folder / "small.safetensors"
    write_tensors(path, {"a": np.float32([1, 2, 3]), "b": np.uint8([7])}, {"kind": "test"})
    return path.read_bytes()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
arrays = st.sampled_from(["f4", "f8", "i4", "i8", "u1", "u4", "u8"]).flatmap(
    lambda dtype: hnp.arrays(
        np.dtype(dtype),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False} if dtype[0] == "f" else None,
    )
)


@settings(deadline=None)  # it waits for the disk
@given(
    tensors=st.dictionaries(st.text(st.characters(categories=["L", "P"])), arrays, max_size=4),
    document=st.dictionaries(st.text("xyz", min_size=1, max_size=3), json_values, max_size=4),
)
def test_what_is_written_comes_back_and_any_safetensors_library_reads_it(folder, tensors, document):
    path = folder / "round.safetensors"
    write_tensors(path, tensors, document)
    back, notes = read_tensors(path)
    foreign = safetensors.numpy.load_file(path)
    assert notes == document
    assert set(back) == set(foreign) == set(tensors)
    for name, array in tensors.items():
        for copy in (back[name], foreign[name]):
            assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
            assert copy.tobytes() == array.tobytes()


def test_the_bytes_are_pinned(tmp_path):
    path = tmp_path / "pinned.safetensors"
    write_tensors(path, {"b": np.float32([1, -2])}, {"note": [1, 0.5, None]})
    assert path.read_bytes() == (
        b"\xe8\0\0\0\0\0\0\0"
        rb'{"__metadata__":{"convae":"{\"format\":\"convae\",\"format_version\":1,'
        rb"\"note\":[1,0.5,null],\"sha256\":"
        rb'\"77d14dd19a7a3ddb0648bfc058a0ba4cde30da0067d8b98510baf9b9ec9ca498\"}"},'
        rb'"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        b"   \0\0\x80?\0\0\0\xc0"
    )


def test_two_processes_write_the_same_bytes_whatever_the_order_of_the_input(tmp_path):
    program = """if True:
        import sys
        import numpy as np
        from convae.storage.safefile import write_tensors
        names = [f"t{i}" for i in range(20)][:: int(sys.argv[2])]
        tensors = {name: np.full(3, int(name[1:]), "f4") for name in names}
        write_tensors(sys.argv[1], tensors, {name: 1 for name in names})
    """
    written = []
    for seed, step in (("1", "1"), ("2", "-1")):
        path = tmp_path / f"{seed}.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, path, step], env=environment, check=True)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_arrays_of_any_layout_and_byte_order_are_written_as_they_read(tmp_path):
    path = tmp_path / "layout.safetensors"
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_tensors(path, {"t": table.T, "big": table.astype(">f4"), "slice": table[::2, 1::2]}, {})
    back, _ = read_tensors(path)
    np.testing.assert_array_equal(back["t"], table.T)
    np.testing.assert_array_equal(back["big"], table)
    np.testing.assert_array_equal(back["slice"], table[::2, 1::2])


def test_arrays_come_back_writable_independent_and_native(folder):
    path = folder / "own.safetensors"
    write_tensors(path, {"a": np.zeros(3, "f4"), "b": np.zeros(3, "f4")}, {})
    back, _ = read_tensors(path)
    back["a"] += 1
    assert back["b"].tolist() == [0, 0, 0]
    assert all(array.flags.owndata and array.dtype.isnative for array in back.values())


def test_the_identity_is_the_checksum_of_the_file_with_zeros_in_its_place(folder):
    data = small_file(folder)
    identity = file_identity(folder / "small.safetensors")
    assert data.count(identity.encode()) == 1
    zeroed = data.replace(identity.encode(), ZEROS.encode())
    assert hashlib.sha256(zeroed).hexdigest() == identity


@pytest.mark.parametrize(
    ("tensors", "document", "text"),
    [
        ({1: np.zeros(1)}, {}, "A tensor's name must be printable text; received 1. Rename it."),
        ({"a\n": np.zeros(1)}, {}, "must be printable text; received 'a\\n'"),
        ({"a": [1.0]}, {}, "must be a NumPy array of one of ['float32', 'float64', 'int16',"),
        ({"a": np.zeros(1, "f2")}, {}, "received float16. Convert it with astype."),
        ({"a": np.zeros(1, object)}, {}, "received object. Convert it with astype."),
        ({"a": np.float32([0, np.inf])}, {}, "'a' must hold finite numbers; received 1 that"),
        ({"a": np.zeros([1] * 9)}, {}, "a shape of at most 8 integers from 0"),
        ({"__metadata__": np.zeros(1)}, {}, "a key that occurs twice"),
        ({"a" * 2**20: np.zeros(1)}, {}, "must have at most 1048576 bytes; received 1048"),
        ({}, {"sha256": "", "x": 1}, "to the file; received ['sha256']. Use other keys."),
        ({}, {"x": float("nan")}, "must be made of JSON values; received one that gave"),
        ({}, {"x": np.float32(1)}, "float32 is not JSON serializable"),
        ({}, {"x": 10**30}, "an integer of 31 characters"),
        ({}, {"x": (1, 2)}, "received tuples, or keys that are not str. Use lists"),
        ({}, {"x": {1: 2}}, "received tuples, or keys that are not str. Use lists"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, tensors, document, text):
    path = tmp_path / "no.safetensors"
    with pytest.raises(ParameterError) as caught:
        write_tensors(path, tensors, document)
    assert text in str(caught.value)
    assert not path.exists()


def test_a_document_that_holds_itself_is_not_written(tmp_path):
    loop = {}
    loop["x"] = loop
    with pytest.raises(ParameterError, match="Circular reference detected"):
        write_tensors(tmp_path / "loop", {}, loop)


def test_every_truncation_is_refused(folder):
    data = small_file(folder)
    for length in range(len(data)):
        assert "cannot be used" in refusal(folder / "cut", data[:length])


@pytest.mark.parametrize("tail", [b"\0", b" ", b"\0" * 8])
def test_bytes_behind_the_end_are_refused(folder, tail):
    assert "checksum" in refusal(folder / "long", small_file(folder) + tail)


def test_every_single_flipped_bit_is_refused(folder):
    data = bytearray(small_file(folder))
    path = folder / "flipped"
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            assert "cannot be used" in refusal(path, data)
            data[place] ^= 1 << bit
    path.write_bytes(data)
    assert read_tensors(path)[1] == {"kind": "test"}


def test_a_checksum_in_capital_digits_is_refused(folder):
    data = small_file(folder)
    digest = file_identity(folder / "small.safetensors")
    message = refusal(folder / "capital", data.replace(digest.encode(), digest.upper().encode()))
    assert "sha256 must be 64 lower-case hexadecimal digits; received" in message


def test_a_checksum_that_stands_twice_in_the_header_is_refused(folder):
    raw = json.dumps({"__metadata__": metadata(twin=ZEROS)}).encode()
    message = refusal(folder / "twin", len(raw).to_bytes(8, "little") + raw)
    assert f"the header must spell sha256 exactly once; received {ZEROS} otherwise" in message


def test_a_checksum_spelled_with_escapes_is_refused(folder):
    header = {"__metadata__": metadata(sha256="a" * 64)}
    raw = json.dumps(header).encode().replace(b"a" * 64, b"\\\\u0061" + b"a" * 63)
    message = refusal(folder / "escaped", len(raw).to_bytes(8, "little") + raw)
    assert "the header must spell sha256 exactly once" in message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (..., "__metadata__ must hold one key, 'convae', with text; received None"),
        (1, "with text; received 1"),
        ({}, "with text; received {}"),
        ({"convae": {}}, "with text; received {'convae': {}}"),
        ({**metadata(), "more": "x"}, "'more': 'x'}. If another program wrote the file"),
        ({"convae": ""}, "the document in __metadata__ must be one UTF-8 JSON object"),
        ({"convae": "{'a': 1}"}, "the document in __metadata__ must be one UTF-8 JSON object"),
        ({"convae": '{"a": NaN}'}, "received 'the constant NaN'"),
        ({"convae": '{"a":' * 40 + "1" + "}" * 40}, "nest at most 32 levels; received 40"),
        (metadata(format=...), "format must be 'convae'; received None. If another program"),
        (metadata(format="other"), "format must be 'convae'; received 'other'"),
        (metadata(format_version=...), "must be an integer from 1; received None. Get the file"),
        (metadata(format_version="1"), "must be an integer from 1; received '1'"),
        (metadata(format_version=True), "must be an integer from 1; received True"),
        (metadata(format_version=1.0), "must be an integer from 1; received 1.0"),
        (metadata(format_version=0), "must be an integer from 1; received 0"),
        (
            metadata(format_version=2),
            "format_version must be 1 for this program; received 2. "
            "Upgrade convae to read this file: pip install --upgrade convae.",
        ),
        (metadata(sha256=...), "sha256 must be 64 lower-case hexadecimal digits; received None"),
        (metadata(sha256=7), "64 lower-case hexadecimal digits; received 7"),
        (metadata(sha256="0" * 63), "64 lower-case hexadecimal digits; received '000"),
        (metadata(sha256="a" * 64 + "\n"), "64 lower-case hexadecimal digits; received 'aaa"),
        (metadata(sha256="٣" * 64), "64 lower-case hexadecimal digits; received '٣٣"),
    ],
)
def test_metadata_that_is_not_ours_is_refused(folder, value, text):
    header = {} if value is ... else {"__metadata__": value}
    assert text in refusal(folder / "metadata", raw_file(header))


def test_a_newer_version_is_named_even_when_its_checksum_follows_other_rules(folder):
    header = {"__metadata__": metadata(format_version=7, sha256="other")}
    message = refusal(folder / "newer", raw_file(header))
    assert "received 7. Upgrade convae" in message


HUGE = {"dtype": "U8", "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("entries", "num_bytes", "text"),
    [
        ({"a": 1}, 0, "tensor 'a' must have exactly dtype, shape and data_offsets; received 1"),
        ({"a": {"dtype": "F32", "shape": [0]}}, 0, "exactly dtype, shape and data_offsets"),
        ({"a": floats(0, 4, more=1)}, 4, "exactly dtype, shape and data_offsets"),
        (
            {"a": floats(0, 4, dtype="F16")},
            4,
            "must have a dtype of ['F32', 'F64', 'I8', 'I16', 'I32',",
        ),
        ({"a": floats(0, 4, dtype="f32")}, 4, "received 'f32'"),
        ({"a": floats(0, 4, dtype=["F32"])}, 4, "received ['F32']"),
        ({"a": floats(0, 4, shape=1)}, 4, "a shape of at most 8 integers from 0; received 1"),
        ({"a": floats(0, 4, shape=[-1])}, 4, "integers from 0; received [-1]"),
        ({"a": floats(0, 4, shape=[-1, -1])}, 4, "integers from 0; received [-1, -1]"),
        ({"a": floats(0, 4, shape=[True])}, 4, "integers from 0; received [True]"),
        ({"a": floats(0, 4, shape=[1.0])}, 4, "integers from 0; received [1.0]"),
        ({"a": floats(0, 4, shape=["1"])}, 4, "integers from 0; received ['1']"),
        ({"a": floats(0, 4, shape=[1] * 9)}, 4, "a shape of at most 8 integers"),
        ({"a": floats(0, 4, shape=[10**30])}, 4, "received 'an integer of 31 characters'"),
        ({"a": floats(0, 4, shape=[10**18])}, 4, "must have a shape of at most 2147483648 bytes"),
        ({"a": floats(0, 4, shape=[2**32] * 8)}, 4, "a shape of at most 2147483648 bytes"),
        ({"a": {**HUGE, "shape": [2**62, 4]}}, 0, "a shape of at most 2147483648 bytes"),
        ({"a": {**HUGE, "shape": [0, 2**32]}}, 0, "a shape of at most 2147483648 bytes"),
        ({"a": {**HUGE, "shape": [2**31]}}, 0, "span the 2147483648 bytes of its shape"),
        ({"a": floats(0, 4, shape=[2])}, 4, "span the 8 bytes of its shape; received [0, 4]"),
        ({"a": floats(0, 4, shape=[])}, 8, "tensors must fill the file to its end; received 8"),
        ({"a": floats(4, 0)}, 4, "integers from 0; received [-1]"),
        ({"a": floats(0, 4, data_offsets=[0])}, 4, "span the 4 bytes of its shape; received [0]"),
        ({"a": floats(0, 4, data_offsets=[0, 4, 8])}, 4, "received [0, 4, 8]"),
        ({"a": floats(0, 4, data_offsets=[-4, 0])}, 4, "received [-4, 0]"),
        ({"a": floats(0, 4, data_offsets=[False, 4])}, 4, "received [False, 4]"),
        ({"a": floats(0, 4, data_offsets="04")}, 4, "received '04'"),
        ({"a": floats(0, 8)}, 4, "fill the file to its end; received 4 bytes of data for 8"),
        ({"a": floats(0, 4)}, 8, "fill the file to its end; received 8 bytes of data for 4"),
        ({}, 1, "fill the file to its end; received 1 bytes of data for 0 announced"),
        ({"a": floats(4, 8)}, 8, "begins at byte 4 where 0 comes next"),
        ({"a": floats(0, 4), "b": floats(8, 12)}, 12, "begins at byte 8 where 4 comes next"),
        ({"a": floats(0, 8), "b": floats(4, 12)}, 12, "begins at byte 4 where 8 comes next"),
        ({"a": floats(0, 4), "b": floats(0, 4)}, 4, "begins at byte 0 where 4 comes next"),
        ({"a": floats(0, 8), "b": floats(4, 4)}, 8, "begins at byte 4 where 8 comes next"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_refused(folder, entries, num_bytes, text):
    data = raw_file(with_tensors(**entries), bytes(num_bytes))
    assert text in refusal(folder / "entry", data)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["F32", "F64"])
def test_numbers_that_are_not_finite_are_refused(folder, kind, bad):
    body = np.array([0, bad, 1], {"F32": "<f4", "F64": "<f8"}[kind]).tobytes()
    entry = {"dtype": kind, "shape": [3], "data_offsets": [0, len(body)]}
    message = refusal(folder / "nan", raw_file(with_tensors(a=entry), body))
    assert "tensor 'a' must hold finite numbers; received 1 that are not. Get the file" in message


@pytest.mark.parametrize(
    ("header", "received"),
    [
        (b"\xff\xfe{}", "text that begins with"),
        (b'{"a":"\xff"}', "can't decode byte"),
        (b'{"a":NaN}', "the constant NaN"),
        (b'{"a":1e400}', "beyond every 64-bit number"),
        (b'{"a":' + b"9" * 5_000 + b"}", "an integer of 5000 characters"),
        (b'{"a":' + b"[" * 500_000, "while decoding a JSON"),
        (b'{"a":' + b'{"a":' * 100_000, "while decoding a JSON"),
        (b'{"__metadata__":{},"__metadata__":{}}', "a key that occurs twice"),
        (b"{}}", "Extra data"),
        (b"", "text that begins with b''"),
    ],
)
def test_a_header_that_is_not_strict_json_is_refused(folder, header, received):
    message = refusal(folder / "header", raw_file(header))
    assert "the header must be one UTF-8 JSON object" in message
    assert received in message


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (33, "must have at most 32 bytes; received 33. If another program wrote the file"),
        (2**32, "must have at most 32 bytes; received 4294967296"),
        (2**64 - 1, "must have at most 32 bytes; received 18446744073709551615"),
    ],
)
def test_a_header_that_leaves_the_file_is_refused(folder, length, text):
    data = raw_file(b"{}" + b" " * 30, length=length)
    assert text in refusal(folder / "length", data)


def test_a_header_above_one_mebibyte_is_refused(folder):
    padded = json.dumps(with_tensors()).encode().ljust(2**20)
    path = folder / "large"
    path.write_bytes(raw_file(padded))
    assert read_tensors(path) == ({}, {})
    message = refusal(path, raw_file(padded + b" "))
    assert "the header of this file must have at most 1048576 bytes; received 1048577" in message


def test_a_file_above_two_gibibytes_is_refused_unread(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(2**31 + 1)
    assert "a file must have 8 to 2147483648 bytes; received 2147483649" in refusal(path)


def test_a_lie_about_sizes_costs_no_memory(tmp_path):
    path = tmp_path / "liar"
    with path.open("wb") as stream:
        stream.write((2**30).to_bytes(8, "little"))
        stream.truncate(2**31)
    tracemalloc.start()
    try:
        refusal(path)
        entry = {"dtype": "U8", "shape": [2**31], "data_offsets": [0, 2**31]}
        refusal(tmp_path / "tensor", raw_file(with_tensors(a=entry)))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_files_of_other_programs_are_refused(tmp_path):
    path = tmp_path / "foreign"
    safetensors.numpy.save_file({"a": np.zeros(3, "f4")}, path)
    assert "received None. If another program wrote the file, open it there" in refusal(path)
    safetensors.numpy.save_file({"a": np.zeros(3, "f4")}, path, {"format": "pt"})
    assert "received {'format': 'pt'}" in refusal(path)
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    assert "If another program wrote the file" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "If another program wrote the file" in refusal(path)


def test_what_is_no_file_is_refused(tmp_path):
    assert refusal(tmp_path / "no") == (
        f"{tmp_path / 'no'} cannot be used: a model or checkpoint must exist; received no such "
        f"file. Check the path."
    )
    for num_bytes in (0, 1, 7):
        message = refusal(tmp_path / "short", bytes(num_bytes))
        assert f"must have 8 to 2147483648 bytes; received {num_bytes}" in message
    assert "must be a regular file; received a folder, a pipe or a device" in refusal(tmp_path)
    with pytest.raises(ModelFileError, match=r"^'a\\x00b' cannot be used: .* must be readable"):
        read_tensors("a\0b")
    below = refusal(tmp_path / "short" / "below")
    assert (
        "must be readable; received 'Not a directory'. Check the path and its permissions." in below
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    messages = []
    reader = threading.Thread(
        target=lambda: messages.append(refusal(tmp_path / "pipe")), daemon=True
    )
    reader.start()
    reader.join(timeout=10)
    assert messages
    assert "must be a regular file" in messages[0]


def accepted_or_refused(path, data):
    """Nothing but `ModelFileError` may leave; what is accepted, every library reads the same."""
    path.write_bytes(data)
    try:
        back, _ = read_tensors(path)
    except ModelFileError:
        return False
    foreign = safetensors.numpy.load(data)
    assert {name: array.tobytes() for name, array in back.items()} == {
        name: array.tobytes() for name, array in foreign.items()
    }
    return True


@settings(max_examples=400, deadline=2_000)
@given(data=st.data())
def test_mutated_bytes_under_a_right_checksum_do_no_harm(folder, data):
    header = bytearray(json.dumps(with_tensors(a=floats(0, 12), b=floats(12, 16))).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(header) - 1))
        stop = place + data.draw(st.integers(0, 6))
        piece = data.draw(
            st.binary(max_size=4)
            | st.sampled_from([b"[", b"{", b"}", b"]", b",", b'"', b"-", b"0", b"1e9", b"null"])
            | st.just(bytes(header[stop : stop + 20]))
        )
        header[place:stop] = piece
    accepted_or_refused(folder / "mutant", raw_file(bytes(header), bytes(16)))


odd_json = json_values | st.sampled_from([[3], [0, 12], "F32", "F64", [0], [12, 16], [-1], 2**63])


@settings(max_examples=200, deadline=2_000)
@given(
    changes=st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), odd_json),
    own=st.dictionaries(st.sampled_from(["format", "format_version", "x"]), odd_json),
    body=st.binary(min_size=16, max_size=16),
)
def test_odd_values_under_a_right_checksum_do_no_harm(folder, changes, own, body):
    header = with_tensors(a={**floats(0, 12), **changes}, b=floats(12, 16))
    header["__metadata__"] = metadata(**own)
    accepted_or_refused(folder / "odd", raw_file(header, body))


def test_the_unmutated_file_of_the_fuzz_tests_is_accepted(folder):
    header = with_tensors(a=floats(0, 12), b=floats(12, 16))
    assert accepted_or_refused(folder / "fine", raw_file(header, bytes(16)))
