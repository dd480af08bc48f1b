import numpy as np
import pytest

from convae.jobs.anomaly.suspects import suspicion


def clusters(num_normal, *others, seed=0):
    """A large cluster, and smaller ones elsewhere, of 20 numbers."""
    generator = np.random.default_rng(seed)
    parts = [generator.standard_normal((num_normal, 20))]
    parts += [
        4 * generator.standard_normal(20) + generator.standard_normal((count, 20))
        for count in others
    ]
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("others", [(20,), (20, 15, 10), (50,)])
def test_anomalies_that_have_others_of_their_kind_are_the_most_suspicious(others):
    found = suspicion(clusters(1000, *others), seed=0)
    assert found.shape == (1000 + sum(others),)
    assert found.dtype == np.float64
    top = np.argsort(-found)[: sum(others)]
    assert (top >= 1000).mean() > 0.9


def test_the_order_of_the_vectors_does_not_matter():
    vectors = clusters(100, 5)
    order = np.random.default_rng(1).permutation(105)
    np.testing.assert_allclose(
        suspicion(vectors[order], seed=0), suspicion(vectors, seed=0)[order], rtol=1e-3
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_vectors_and_equal_ones_do_no_harm(count):
    assert np.isfinite(suspicion(clusters(count), seed=0)).all()
    np.testing.assert_allclose(suspicion(np.ones((count, 4), np.float32), seed=0), 0, atol=1e-9)
