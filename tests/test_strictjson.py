import re

import pytest

from convae.errors import ModelFileError
from convae.storage.strictjson import parse_object


def nested(depth):
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_an_object_is_read():
    assert parse_object(b'{"a": [1, -2.5e3, true, null, "\\u00e9"], "b": {}}', "x") == {
        "a": [1, -2500.0, True, None, "é"],
        "b": {},
    }


@pytest.mark.parametrize(
    ("raw", "received"),
    [
        (b"", "text that begins with b''"),
        (b"[1]", "text that begins with b'[1]'"),
        (b' {"a":1}', "text that begins with"),
        (b'\xef\xbb\xbf{"a":1}', "text that begins with"),
        (b'{"a":1', "Expecting ',' delimiter"),
        (b'{"a":1} {}', "Extra data"),
        (b'{"a":\xff}', "can't decode byte 0xff"),
        (b'{"a":"\\ud800"}', "surrogates not allowed"),
        (b'{"\\udc00":1}', "surrogates not allowed"),
        (b'{"a":1,"a":1}', "a key that occurs twice"),
        (b'{"b":[{"a":1,"\\u0061":2}]}', "a key that occurs twice"),
        (b'{"a":NaN}', "the constant NaN"),
        (b'{"a":Infinity}', "the constant Infinity"),
        (b'{"a":-Infinity}', "the constant -Infinity"),
        (b'{"a":1e999}', "1e999, which is beyond every 64-bit number"),
        (b'{"a":' + b"1" * 21 + b"}", "an integer of 21 characters"),
        (b'{"a":-' + b"1" * 500_000 + b"}", "an integer of 500001 characters"),
        (b'{"a":1.' + b"1" * 500_000 + b"}", "a number of 500002 characters"),
        (nested(500_000), "while decoding a JSON"),
    ],
)
def test_text_that_breaks_a_rule_is_refused_with_the_rule_and_the_reason(raw, received):
    rule = "this text must be one UTF-8 JSON object, every key once, every number finite and short"
    with pytest.raises(ModelFileError, match=f"^{rule}; received .*{re.escape(received)}"):
        parse_object(raw, "this text")


def test_every_64_bit_integer_is_short_enough():
    raw = b'{"least": -9223372036854775808, "most": 18446744073709551615}'
    assert parse_object(raw, "x") == {"least": -(2**63), "most": 2**64 - 1}


def test_nesting_is_bounded_at_32_levels():
    assert list(parse_object(nested(32), "x")) == ["a"]
    with pytest.raises(ModelFileError, match=r"^x must nest at most 32 levels; received 33$"):
        parse_object(nested(33), "x")
