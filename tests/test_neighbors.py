import numpy as np
import pytest

from convae.jobs.anomaly.learn import NUM_COMPONENTS, fit_neighbors
from convae.jobs.anomaly.neighbors import NUM_NEIGHBORS, PENALTY, Neighbors


def vectors_of(count, length, seed=0):
    return np.random.default_rng(seed).standard_normal((count, length)).astype(np.float32)


def test_a_kept_vector_is_nearer_than_a_strange_one():
    vectors = vectors_of(200, 100)
    kept = fit_neighbors(vectors, seed=0)
    assert kept.components.shape == (NUM_COMPONENTS, 100)
    known, indices, weights = kept.search(vectors)
    assert indices.shape == weights.shape == (200, NUM_NEIGHBORS)
    assert (indices == np.arange(200)[:, None]).any(axis=1).all()
    strange, _, _ = kept.search(3 * vectors_of(50, 100, seed=1))
    assert known.max() < strange.min()


def test_the_nearest_point_is_made_by_the_weights_and_its_distance_is_the_one_told():
    vectors = vectors_of(60, 10)
    kept = fit_neighbors(vectors, seed=0)
    queries = vectors_of(7, 10, seed=1)
    distances, indices, weights = kept.search(queries)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    points = np.einsum("ij,ijk->ik", weights, vectors[indices])  # 10 components miss nothing
    np.testing.assert_allclose(np.square(queries - points).sum(axis=1), distances, rtol=1e-3)


def test_the_plane_fills_the_gap_between_two_neighbors():
    vectors = np.array([[-1, 0, 0], [1, 0, 0]], np.float32)
    kept = fit_neighbors(vectors, seed=0)
    queries = np.array([[0, 0, 0], [0.5, 0, 2], [1, 0, 0]], np.float32)
    distances, _, _ = kept.search(queries)
    # Along the line, where the neighbors spread by 1, a query at x is met at 2 x / (2 + penalty).
    left = 1 - 2 / (2 + PENALTY)
    np.testing.assert_allclose(distances, [0, 0.25 * left**2 + 4, left**2], atol=1e-6)


def test_what_the_components_miss_is_added():
    vectors = np.zeros((40, 6), np.float32)
    vectors[:, 0] = np.linspace(-1, 1, 40)
    kept = fit_neighbors(vectors, seed=0)
    off = np.zeros((1, 6), np.float32)
    off[0, 5] = 3
    near = Neighbors(kept.mean, kept.components[:1], kept.references[:, :1])
    assert near.search(off)[0][0] == pytest.approx(9, abs=0.01)


def test_equal_vectors_leave_the_distance_to_themselves():
    vectors = np.ones((30, 5), np.float32)
    kept = fit_neighbors(vectors, seed=0)
    distances, _, weights = kept.search(np.array([[1] * 5, [3] * 5], np.float32))
    np.testing.assert_allclose(distances, [0, 20], atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_the_same_seed_keeps_the_same():
    vectors = vectors_of(90, 80)
    one, two = (fit_neighbors(vectors, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.components, two.components)
