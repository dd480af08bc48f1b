import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from convae.errors import ImageError
from convae.images.metrics import psnr_db, squared_errors, ssim

SHAPES = st.tuples(
    st.integers(1, 3), st.integers(8, 17), st.integers(8, 17), st.sampled_from((1, 3, 4))
)
PIXELS = st.floats(0, 1, width=32)


@st.composite
def pairs(draw):
    shape = draw(SHAPES)
    return tuple(draw(arrays.arrays(np.float32, shape, elements=PIXELS)) for _ in range(2))


def similar_by_scikit_image(original, reconstruction):
    # It computes in the dtype it is given.
    return structural_similarity(
        original.astype(np.float64),
        reconstruction.astype(np.float64),
        win_size=7,
        data_range=1,
        channel_axis=-1,
    )


@given(pairs())
def test_ssim_is_that_of_scikit_image(pair):
    originals, reconstructions = pair
    expected = [similar_by_scikit_image(*images) for images in zip(*pair, strict=True)]
    np.testing.assert_allclose(ssim(originals, reconstructions), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 28, 28, 1), (1, 64, 48, 3), (1, 8, 200, 4)])
def test_ssim_of_noisy_pictures_is_that_of_scikit_image(shape):
    generator = np.random.default_rng(0)
    originals = generator.random(shape, dtype=np.float32)
    noisy = np.clip(originals + generator.normal(0, 0.1, shape).astype(np.float32), 0, 1)
    expected = [similar_by_scikit_image(*images) for images in zip(originals, noisy, strict=True)]
    np.testing.assert_allclose(ssim(originals, noisy), expected, rtol=0, atol=1e-9)


@given(pairs())
def test_psnr_is_that_of_scikit_image(pair):
    original, reconstruction = pair[0][0], pair[1][0]
    error = float(squared_errors(original[np.newaxis], reconstruction[np.newaxis])[0])
    if error == 0:
        assert math.isinf(psnr_db(error))
        return
    expected = peak_signal_noise_ratio(
        original.astype(np.float64), reconstruction.astype(np.float64), data_range=1
    )
    assert psnr_db(error) == pytest.approx(expected, abs=1e-9)


@given(pairs())
def test_errors_and_similarities_stay_in_their_ranges_and_are_symmetric(pair):
    errors, likenesses = squared_errors(*pair), ssim(*pair)
    assert errors.dtype == likenesses.dtype == np.float64
    assert errors.shape == likenesses.shape == (len(pair[0]),)
    assert ((errors >= 0) & (errors <= 1)).all()
    assert ((likenesses >= -1 - 1e-9) & (likenesses <= 1 + 1e-9)).all()
    np.testing.assert_array_equal(errors, squared_errors(*reversed(pair)))
    np.testing.assert_allclose(likenesses, ssim(*reversed(pair)), rtol=0, atol=1e-12)


@given(pairs())
def test_equal_images_have_no_error_and_full_similarity(pair):
    images = pair[0]
    assert not squared_errors(images, images).any()
    np.testing.assert_allclose(ssim(images, images), 1, rtol=0, atol=1e-9)


def test_the_psnr_of_known_errors():
    assert psnr_db(1.0) == 0
    assert psnr_db(0.01) == pytest.approx(20)
    assert psnr_db(0.0068) == pytest.approx(21.67, abs=0.01)
    assert psnr_db(0) == math.inf


def test_each_image_is_judged_as_if_it_were_alone(monkeypatch):
    generator = np.random.default_rng(1)
    originals, reconstructions = generator.random((2, 11, 9, 10, 3), dtype=np.float32)
    alone = [
        (squared_errors(a, b)[0], ssim(a, b)[0])
        for a, b in zip(originals[:, np.newaxis], reconstructions[:, np.newaxis], strict=True)
    ]
    for num_values in (1, 4 * originals[0].size, 10**9):
        monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", num_values)
        together = zip(
            squared_errors(originals, reconstructions),
            ssim(originals, reconstructions),
            strict=True,
        )
        np.testing.assert_allclose(list(together), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("judge", [squared_errors, ssim])
def test_images_of_other_shapes_are_refused(judge):
    gray, colored = np.zeros((2, 8, 8, 1), np.float32), np.zeros((2, 8, 8, 3), np.float32)
    text = (
        r"Images that are compared must have one shape; received \(2, 8, 8, 1\) and "
        r"\(2, 8, 8, 3\)\. Bring both to one size with convae\.images\.fit_size\."
    )
    with pytest.raises(ImageError, match=text):
        judge(gray, colored)
