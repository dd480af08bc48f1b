"""Masks and anomalies beside the pictures to train on."""

import numpy as np
import pytest

from convae import check_training_folder
from convae.errors import DataError


def folders(root, *names):
    for name in names:
        (root / name).mkdir()
    return root


@pytest.mark.parametrize(
    ("names", "for_anomalies"),
    [
        (("normal", "abnormal", "mask"), False),
        (("normal", "abnormal"), True),
        (("OK", "NG"), True),
        (("images", "Masks"), False),
        (("good", "ground_truth"), True),
    ],
)
def test_a_folder_of_several_kinds_is_refused_and_the_one_to_pass_is_named(
    tmp_path, names, for_anomalies
):
    folders(tmp_path, *names)
    with pytest.raises(DataError, match="must hold pictures of one kind") as caught:
        check_training_folder(tmp_path, for_anomalies=for_anomalies)
    assert f"as in {tmp_path / names[0]}, or" in str(caught.value)
    assert names[1] in str(caught.value)


@pytest.mark.parametrize(
    ("names", "for_anomalies"),
    [
        (("normal", "abnormal"), False),
        (("cats", "dogs"), True),
        (("train", "test", "ground_truth"), True),
        (("abnormal",), True),
        (("masks",), False),
        ((), True),
    ],
)
def test_other_folders_are_trained_on(tmp_path, names, for_anomalies):
    check_training_folder(folders(tmp_path, *names), for_anomalies=for_anomalies)


def test_what_is_no_folder_passes(tmp_path):
    for data in ("mnist", tmp_path / "missing", "a\0b"):
        check_training_folder(data, for_anomalies=True)


def test_training_asks_before_it_reads(command, tmp_path):
    folders(tmp_path, "normal", "abnormal")
    np.save(tmp_path / "normal" / "x.npy", np.zeros(3))
    done = command("train", tmp_path, "--anomalies", "--out", tmp_path / "out")
    assert done.code == 1
    assert "has abnormal beside normal" in done.err
    assert not (tmp_path / "out").exists()
