"""scikit-learn's own checks, on tables whose rows are made into images."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from convae import AnomalyDetector, ConvAutoencoder

# What scikit-learn itself skips, and why that is right for images. No other check may skip or fail.
NOT_APPLICABLE = {
    "check_array_api_input": "arrays of other libraries are not accepted, only NumPy's",
}


class OfTables:
    """Takes tables of any numbers, as scikit-learn's checks make them, and fits images of them.

    Each row is squashed into [0, 1] and repeated into 8 x 8 pixels. All else is the estimator's.
    """

    def fit(self, X, y=None):
        return super().fit(self._rows_as_images(X, reset=True), y)

    def score_samples(self, X):
        return super().score_samples(self._rows_as_images(X))

    def _rows_as_images(self, X, *, reset=False):
        if getattr(X, "ndim", 2) == 4:
            return X  # score hands its images on
        table = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        return np.stack([np.resize(expit(row), (8, 8, 1)) for row in table])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class TableAutoencoder(OfTables, ConvAutoencoder):
    def transform(self, X):
        return super().transform(self._rows_as_images(X))

    def score(self, X, y=None):
        return super().score(self._rows_as_images(X), y)


class TableDetector(OfTables, AnomalyDetector):
    pass


TINY = {
    "filters": (2,),
    "latent_dim": 2,
    "epochs": 1,
    "batch_size": 1,
    "optimizer": "adam",
    "learning_rate_schedule": "constant",
    "recompute_statistics": False,
}


@pytest.mark.parametrize(
    "estimator",
    [
        TableAutoencoder(**TINY),
        TableDetector(ConvAutoencoder(**TINY), false_alarm_rate=0.4, calibration_fraction=0.5),
    ],
)
def test_scikit_learns_checks_pass_but_for_those_listed(estimator, monkeypatch):
    # A training that takes its images along, one at a time, is compiled once for any number.
    monkeypatch.setattr("convae.nn.steps.MOST_RESIDENT_BYTES", 0)
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    others = {
        result["check_name"]: f"{result['status']}: {result['exception']!r}"
        for result in results
        if result["status"] != "passed" and result["check_name"] not in NOT_APPLICABLE
    }
    assert others == {}
    assert len(results) > 40


def test_the_estimator_itself_says_that_it_takes_images():
    tags = ConvAutoencoder().__sklearn_tags__()
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert not tags.target_tags.required
    with pytest.warns(SkipTestWarning, match="Can't test estimator ConvAutoencoder"):
        (cloneable,) = check_estimator(ConvAutoencoder(), on_skip=None)
    assert cloneable["status"] == "passed"


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_is_no_image(rows):
    with pytest.raises(ValueError, match="shape"):
        ConvAutoencoder().fit(np.zeros((rows, 64), np.float32))
