"""Every name of an archive has a file of its own, inside the folder, on every system."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convae.storage.naming import changed, file_names, folds_case

names = st.lists(
    st.text(st.sampled_from("aAäé.~/%: \\\n\x01?*-2pngPNG"), min_size=1, max_size=12), max_size=8
)


def files(*given, **system):
    system = {"windows": False, **system}
    return [path.as_posix() for path in file_names(given, **system)]


def test_pictures_keep_their_names_and_others_get_an_ending():
    assert files("a.png", "b.PNG", "c.jpg", "x/y.tif", None) == [
        "a.png", "b.PNG", "c.jpg.png", "x/y.tif.png", "4.png",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["12:30.png", "what?.png", "b*.png", "v1./b.png", "new\nline.png"])
def test_what_a_system_can_hold_comes_back_as_it_is(name):
    assert files(name) == [name]
    assert files(name, windows=True) != [name]


def test_names_that_would_meet_get_a_number_and_exact_ones_stay():
    assert files("x.jpg", "x.jpg.png") == ["x.jpg~2.png", "x.jpg.png"]
    assert files("a.jpg", "a.jpg.png/q.png") == ["a.jpg~2.png", "a.jpg.png/q.png"]
    assert files("0.png", None, None) == ["0.png", "1.png", "2.png"]
    assert files(None, "0.png") == ["0~2.png", "0.png"]
    assert files("A.png", "a.png") == ["A.png", "a.png"]
    assert files("A.png", "a.png", folds_case=True) == ["A.png", "a~2.png"]
    assert files("é.png", "e\u0301.png", folds_case=True) == ["é.png", "e\u0301~2.png"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../a.png", "%2E%2E/a.png"),
        ("/etc/a.png", "%/etc/a.png"),
        ("a//b.png", "a/%/b.png"),
        ("..", "...png"),
        (".", "..png"),
        ("a/", "a/.png"),
        (".png", ".png.png"),
    ],
)
def test_no_name_leads_out_of_the_folder(name, expected):
    assert files(name) == [expected]


def test_windows_gets_no_device_and_no_sign_that_it_cannot_hold():
    assert files("con.png", "NUL/a.png", "com1", "a:b.png", "dot./x.png", windows=True) == [
        "%63on.png", "%4EUL/a.png", "%63om1.png", "a%3Ab.png", "dot%2E/x.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["n" * 251 + ".jpg", "ü" * 127 + ".png", "n" * 300 + "/" + "m" * 400]
)
def test_long_names_are_cut_and_told_apart_by_their_hash(name):
    (path,) = files(name)
    assert all(len(part.encode()) <= 255 for part in path.split("/"))
    assert path.endswith(".png")
    other = name.replace("n", "o", 1) if "n" in name else "u" + name[1:]
    assert len(set(files(name, other))) == 2


@given(names, st.booleans(), st.booleans())
def test_any_names_get_files_of_their_own_inside_the_folder(given_names, windows, folding):
    unique = list(dict.fromkeys(given_names))
    found = files(*unique, windows=windows, folds_case=folding)
    assert len(found) == len(unique)
    keys = [path.casefold() if folding else path for path in found]
    assert len(set(keys)) == len(keys)
    for path in found:
        parts = PurePosixPath(path).parts
        assert not path.startswith("/")
        assert parts
        assert ".." not in parts
        assert path.lower().endswith(".png")
        if windows:
            assert not any(re.search(r'[\x00-\x1f<>:"\\|?*]|[. ]\Z', part) for part in parts)
    folders = {
        "/".join(path.split("/")[:count])
        for path in keys
        for count in range(1, path.count("/") + 1)
    }
    assert not folders & set(keys)


def test_changed_names_are_listed_and_others_are_not():
    given_names = ["a.png", "b.jpg", "x.jpg", "x.jpg.png", None]
    paths = list(file_names(given_names, windows=False))
    assert changed(given_names, paths) == [("x.jpg~2.png", "x.jpg")]


def test_case_matters_in_this_folder_unless_its_name_says_otherwise(tmp_path):
    (tmp_path / "Probe").mkdir()
    swapped = (tmp_path / "pROBE").exists()
    assert folds_case(tmp_path / "Probe") == swapped
