import numpy as np
import pytest
from coders import smooth_images

from convae.coding.samples import ContextSampler
from convae.coding.tiles import LARGEST_TILE, SMALLEST_TILE, TileCollector, Tiles
from convae.coding.waves import OFFSETS, Canvas, Wave
from convae.errors import DataError
from convae.jobs.codec.pixels import collect_tiles


def pictures(*sizes, channels=1):
    return [
        smooth_images(1, height, width, channels, seed=number)
        for number, (height, width) in enumerate(sizes)
    ]


def collected(images, most_bytes=1 << 26, seed=0):
    collector = TileCollector(most_bytes, seed)
    for image in images:
        collector.add(image)
    return collector.tiles()


def test_tiles_cover_every_pixel_of_pictures_of_any_size_once():
    images = pictures((30, 40), (100, 33), (7, 90))
    tiles = collected(images)
    assert tiles.size == (30, 40)
    assert np.count_nonzero(tiles.inside) == sum(image.size for image in images)
    shown = tiles.values[:, 4:, 4:-4, 0]
    assert shown[tiles.inside].sum() == sum(image.astype(int).sum() for image in images)
    assert not shown[~tiles.inside].any()
    # Of the second picture, whose sizes no other one has.
    second = np.zeros((120, 40), np.uint8)
    for tile in np.flatnonzero(tiles.sizes[:, 0] == 100):
        row, column = tiles.places[tile]
        second[row : row + 30, column : column + 40] = shown[tile]
    np.testing.assert_array_equal(second[:100, :33], images[1][0, ..., 0])


@pytest.mark.parametrize(("side", "expected"), [(8, SMALLEST_TILE), (300, LARGEST_TILE)])
def test_a_tile_is_neither_tiny_nor_large(side, expected):
    assert collected(pictures((side, side))).size == (expected, expected)


def test_contexts_of_tiles_are_those_of_their_pictures():
    images = pictures((90, 150), channels=3)
    whole = Canvas.of(images[0])
    tiles = collected(images)
    assert len(tiles) == 6
    batch = ContextSampler(tiles, 1, 0).draw(400)
    known = {}
    for row in range(90):
        for column in range(150):
            places = whole.places(Wave(np.array([row]), np.array([column])))
            window = whole.windows(places)[..., 0, 0]
            known[window.tobytes()] = row * 16 // 90, column * 16 // 150, images[0][0, row, column]
    for index in range(400):
        window = np.ascontiguousarray(batch.inputs[:, : len(OFFSETS), index])
        row, column, pixel = known[window.tobytes()]
        assert (batch.rows[index], batch.columns[index]) == (row, column)
        assert batch.inputs[0, -1, index] == pixel[0]
        assert batch.values[index] == pixel[1]


def test_whole_images_are_tiles():
    images = smooth_images(5, 9, 12, 3)
    tiles = Tiles.of(images)
    assert (tiles.size, tiles.num_planes, len(tiles)) == ((9, 12), 3, 5)
    assert tiles.inside.all()
    np.testing.assert_array_equal(tiles.values[:, 4:, 4:-4], images)
    some = tiles.some(np.arange(5) > 2)
    np.testing.assert_array_equal(some.values, tiles.values[3:])


def test_of_too_many_tiles_any_may_be_kept():
    images = [np.full((10, 16, 16, 1), brightness, np.uint8) for brightness in range(1, 101)]
    found = []
    for seed in range(20):
        tiles = collected(images, most_bytes=30 * 16 * 16, seed=seed)
        assert len(tiles) == 30
        found += tiles.values.max(axis=(1, 2, 3)).tolist()
    # Of 600 draws a quarter falls in each quarter of the pictures, 150 give or take 11.
    assert all(100 < np.count_nonzero(np.array(found) // 25.1 == part) < 200 for part in range(4))


def test_pictures_of_the_kind_with_most_bytes_are_learned_from():
    few, many = smooth_images(2, 20, 20, 3), smooth_images(9, 20, 20, 1)
    deep = smooth_images(3, 20, 20, 1, np.uint16)
    batches = [(few, ()), (many[:4], ()), (deep, ()), (many[4:], ())]
    tiles, bits = collect_tiles(batches, 1 << 20, 0)
    assert (len(tiles), tiles.num_planes, bits) == (9, 1, 8)
    tiles, bits = collect_tiles([*batches, (deep[:2], ())], 1 << 20, 0)
    assert (len(tiles), tiles.num_planes, bits) == (5, 2, 16)
    with pytest.raises(DataError, match="must be pictures to learn from; received none"):
        collect_tiles([], 1 << 20, 0)
