import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from convae.errors import DataError, ImageError, OutputError, ParameterError
from convae.images import fit_size, memory, read_images, to_float, write_image


def gray(height, width, value=100):
    return np.full((height, width, 1), value, np.uint8)


def color(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def alpha(height, width):
    return np.full((height, width, 4), (0, 0, 0, 51), np.uint8)


def folder(root, **pictures):
    for name, image in pictures.items():
        write_image(root / f"{name}.png", image)
    return root


def names_in(root):
    return sorted(path.name for path in root.iterdir())


def test_pictures_of_one_size_come_back_as_they_are_sorted_by_path(tmp_path):
    folder(tmp_path / "b", one=gray(20, 30, 3))
    folder(tmp_path / "a" / "deep", two=gray(20, 30, 2))
    folder(tmp_path, c=gray(20, 30, 4), B=gray(20, 30, 1))
    found = read_images(tmp_path)
    assert found.paths == ("B.png", "a/deep/two.png", "b/one.png", "c.png")
    assert found.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert found.images.shape == (4, 20, 30, 1)
    assert found.images.dtype == np.uint8
    assert (found.num_resized, found.skipped, found.positions) == (0, (), (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(8, 512, (8, 512)), (512, 8, (512, 8)), (10, 200, (8, 160)), (9, 9000, (8, 8000)),
     (20, 160, (8, 64)), (300, 300, (64, 64))],
)  # fmt: skip
def test_long_pictures_keep_their_shape(tmp_path, height, width, expected):
    rows = np.arange(height)[:, None, None] * np.ones((1, width, 1))
    folder(tmp_path, a=(rows * 255 / height).astype(np.uint8))
    images = read_images(tmp_path).images
    assert images.shape == (1, *expected, 1)
    if height < width:
        assert len(np.unique(images[0], axis=0)) >= 7


def test_hidden_files_other_endings_and_links_to_folders_are_left_out(tmp_path):
    folder(tmp_path, a=gray(8, 8))
    folder(tmp_path / ".hidden", b=gray(8, 8))
    folder(tmp_path, **{".c": gray(8, 8)})
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = read_images(tmp_path)
    assert found.paths == ("a.png",)
    assert found.notes == (
        "1 file with other endings than those of pictures: left out",
        "1 link to other folders: not followed",
    )


def test_pictures_with_more_frames_are_counted_and_refused_if_strict(tmp_path):
    frames = [Image.fromarray(gray(8, 8, value)[..., 0]) for value in (1, 2)]
    for name in ("a.gif", "b.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    folder(tmp_path, c=gray(8, 8, 3))
    found = read_images(tmp_path)
    assert found.images[:, 0, 0, 0].tolist() == [1, 1, 3]
    note = "2 pictures have more than one frame or page; only the first is read"
    assert (found.notes, found.skipped) == ((note,), ())
    assert read_images(tmp_path / "c.png").notes == ()
    with pytest.raises(
        ImageError, match=r"must have one frame or page to be read strictly; a\.gif"
    ):
        read_images(tmp_path, strict=True)
    assert read_images(tmp_path / "c.png", strict=True).notes == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jfif", "JPEG"), ("a.JPE", "JPEG"), ("a.apng", "PNG"), ("a.avif", "AVIF"),
        ("a.jp2", "JPEG2000"), ("a.j2k", "JPEG2000"),
    ],
)  # fmt: skip
def test_less_usual_endings_are_found(tmp_path, name, kind):
    Image.fromarray(gray(16, 16, 90)[..., 0]).save(tmp_path / name, kind)
    found = read_images(tmp_path)
    assert (found.paths, found.notes) == ((name,), ())
    assert np.abs(found.images.astype(int) - 90).max() <= 2


def test_a_path_that_the_shell_did_not_expand_is_refused_with_that_reason():
    with pytest.raises(DataError, match="expanded by the shell, and not in quotes"):
        read_images("~/nowhere-at-all")
    with pytest.raises(DataError, match=r"A pattern with \* is not expanded here: pass the folder"):
        read_images("nowhere/*.png")


def test_endings_count_in_any_case_and_content_counts_more_than_the_ending(tmp_path):
    Image.fromarray(gray(9, 9)[..., 0]).save(tmp_path / "a.JPG", "PNG")
    assert read_images(tmp_path).images.tolist() == gray(9, 9)[np.newaxis].tolist()


def test_unicode_and_very_long_names_are_read(tmp_path):
    names = ("x" * 251 + ".png", "żółć 図 🙂.png")
    for name in names:
        Image.fromarray(gray(8, 8)[..., 0]).save(tmp_path / name)
    assert read_images(tmp_path).paths == names


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path):
    folder(tmp_path / "x.png", a=gray(8, 8))
    assert read_images(tmp_path).paths == ("x.png/a.png",)


@pytest.mark.parametrize(
    ("pictures", "channels"),
    [
        ([gray(8, 8), gray(8, 8)], 1),
        ([gray(8, 8), color(8, 8)], 3),
        ([gray(8, 8), color(8, 8), alpha(8, 8)], 4),
        ([gray(8, 8), alpha(8, 8)], 4),
    ],
)
def test_the_richest_picture_decides_the_channels(tmp_path, pictures, channels):
    folder(tmp_path, **{str(position): image for position, image in enumerate(pictures)})
    images = read_images(tmp_path).images
    assert images.shape[-1] == channels
    assert (images[0, ..., : min(channels, 3)] == 100).all()
    if channels == 4:
        assert (images[0, ..., 3] == 255).all()
        assert (images[-1, ..., 3] == 51).all()


def test_wanted_channels_are_made_and_alpha_goes_onto_white(tmp_path):
    folder(tmp_path, a=color(8, 8), b=alpha(8, 8))
    for channels in (1, 3):
        images = read_images(tmp_path, channels=channels).images
        assert images.shape == (2, 8, 8, channels)
        assert (images[0] == 100).all()
        assert (images[1] == 204).all()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(128, 128)] * 2, (128, 128)),
        ([(9, 127)] * 2, (9, 127)),
        ([(129, 129)] * 2, (64, 64)),
        ([(200, 100)] * 2, (64, 32)),
        ([(3000, 4000), (300, 400), (4000, 3000)], (48, 64)),
        ([(20, 20), (20, 20), (20, 40)], (20, 20)),
        ([(9, 11), (11, 9), (10, 10)], (12, 12)),
        ([(8, 900), (8, 901)], (8, 900)),
    ],
)
def test_the_size_follows_the_pictures(tmp_path, sizes, expected):
    folder(tmp_path, **{str(k): gray(*size) for k, size in enumerate(sizes)})
    found = read_images(tmp_path)
    assert found.images.shape == (len(sizes), *expected, 1)
    assert found.num_resized == sum(size != expected for size in sizes)
    assert (found.images == 100).all()


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_wanted_size_and_fit_are_used(tmp_path, fit):
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    folder(tmp_path, a=image)
    found = read_images(tmp_path, size=(16, 24), fit=fit)
    assert np.array_equal(found.images[0], fit_size(image, 16, 24, fit))
    assert found.num_resized == 1
    assert read_images(tmp_path, size=16).images.shape == (1, 16, 16, 3)


def test_one_16_bit_scan_makes_all_images_float(tmp_path):
    folder(tmp_path, a=gray(8, 8, 51), b=color(8, 8, 255))
    tifffile.imwrite(tmp_path / "c.tif", np.full((8, 8), 13107, np.uint16))
    images = read_images(tmp_path).images
    assert images.dtype == np.float32
    assert np.array_equal(images[0], to_float(color(8, 8, 51)))
    assert np.array_equal(images[1], np.ones((8, 8, 3), np.float32))
    assert np.allclose(images[2], 0.2)


def test_bad_pictures_are_skipped_with_their_reasons(tmp_path):
    folder(tmp_path, a=gray(8, 8, 1), e=gray(8, 8, 5), f=gray(7, 9))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").touch()
    (tmp_path / "c.png").write_bytes(whole[:45])
    (tmp_path / "d.jpg").write_text("text")
    (tmp_path / "g.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "h.png")
    found = read_images(tmp_path)
    assert found.paths == ("a.png", "e.png")
    assert found.positions == (0, 4)
    assert found.images[:, 0, 0, 0].tolist() == [1, 5]
    reasons = dict(found.skipped)
    assert list(reasons) == ["b.png", "c.png", "d.jpg", "f.png", "g.png", "h.png"]
    for name, text in [
        ("b.png", "b.png is empty"),
        ("c.png", "must be whole; decoding c.png gave"),
        ("d.jpg", "d.jpg holds something else"),
        ("f.png", "f.png is 9 wide and 7 high"),
        ("g.png", "nothing at g.png"),
        ("h.png", "h.png is a device or a pipe"),
    ]:
        assert text in reasons[name]


def test_one_corrupt_picture_among_many_costs_nothing_else(tmp_path):
    folder(tmp_path, **{f"{k:03}": gray(8, 8, k) for k in range(200)})
    (tmp_path / "100.png").write_bytes((tmp_path / "100.png").read_bytes()[:50])
    found = read_images(tmp_path)
    assert found.images[:, 0, 0, 0].tolist() == [k for k in range(200) if k != 100]
    assert [path for path, _ in found.skipped] == ["100.png"]


@pytest.mark.parametrize("length", [0, 45])
def test_strict_refuses_the_first_bad_picture(tmp_path, length):
    folder(tmp_path, a=gray(8, 8), b=gray(8, 8), c=gray(8, 8))
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:length])
    with pytest.raises(ImageError, match=r"A picture must .* b\.png"):
        read_images(tmp_path, strict=True)


def test_files_named_one_by_one_keep_their_order(tmp_path):
    folder(tmp_path, a=gray(8, 8, 1), b=gray(8, 8, 2))
    (tmp_path / "c").write_bytes((tmp_path / "a.png").read_bytes())
    paths = [tmp_path / "b.png", str(tmp_path / "a.png"), tmp_path / "c"]
    found = read_images(paths)
    assert found.images[:, 0, 0, 0].tolist() == [2, 1, 1]
    assert found.paths == tuple(map(str, paths))


def test_one_file_is_one_image(tmp_path):
    folder(tmp_path, a=gray(8, 8))
    found = read_images(str(tmp_path / "a.png"))
    assert (found.images.shape, found.paths) == ((1, 8, 8, 1), ("a.png",))


def test_progress_goes_up_to_its_end_even_with_bad_pictures(tmp_path):
    folder(tmp_path, a=gray(8, 8), b=gray(8, 8))
    (tmp_path / "c.png").touch()
    steps = []
    read_images(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 6) for done in range(1, 7)]


def test_a_picture_that_is_finished_while_others_are_read_waits_for_the_next_time(tmp_path):
    folder(tmp_path, b=gray(8, 8, 2))
    (tmp_path / "a.png").touch()

    def finish(done, _):
        if done == 2:
            write_image(tmp_path / "a.png", gray(8, 8, 1))

    found = read_images(tmp_path, progress=finish)
    assert found.paths == ("b.png",)
    assert [path for path, _ in found.skipped] == ["a.png"]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"must hold PNG.* holds none, and 0 other files\. Check"):
        read_images(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"holds none, and 1 other files\. Check the path"):
        read_images(tmp_path)


def test_a_folder_where_nothing_can_be_read_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    with pytest.raises(
        DataError, match=r"At least one .* none of the 2 in .* is\. The first, a\.png: A"
    ):
        read_images(tmp_path)
    folder(tmp_path, a=gray(8, 8), b=gray(8, 8))
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:45])
    with pytest.raises(
        DataError, match=r"none of the 2 in .* is\. The first, a\.png: A picture must be"
    ):
        read_images(tmp_path)


def test_no_path_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"at least one picture; received no path\. Name a file"):
        read_images([])
    with pytest.raises(
        DataError, match=r"must exist; there is nothing at .*missing\. Check the path"
    ):
        read_images(tmp_path / "missing")


def test_settings_are_checked(tmp_path):
    folder(tmp_path, a=gray(8, 8))
    for wrong in ({"size": 3}, {"channels": 2}, {"fit": "squeeze"}):
        with pytest.raises(ParameterError, match=f"{next(iter(wrong))} must be"):
            read_images(tmp_path, **wrong)


def test_too_many_images_for_the_memory_are_refused_before_decoding(tmp_path, monkeypatch):
    folder(tmp_path, a=gray(8, 8), b=color(8, 8))
    monkeypatch.setattr(memory, "memory_limit", lambda: 2 * 8 * 8 * 3)
    assert read_images(tmp_path).images.shape == (2, 8, 8, 3)
    text = (
        r"half of this machine's memory.*2 images of 9 x 8.*smaller size or fewer.*pass store \(-"
    )
    with pytest.raises(DataError, match=text):
        read_images(tmp_path, size=(9, 8))


def test_a_store_holds_the_images_instead_of_memory(tmp_path, monkeypatch):
    folder(tmp_path / "a", **{f"{k}": gray(8 + k, 9, k) for k in range(20)})
    (tmp_path / "a" / "7.png").write_bytes(b"broken")
    expected = read_images(tmp_path / "a", channels=3)
    monkeypatch.setattr(memory, "memory_limit", lambda: 0)
    steps = []
    found = read_images(
        tmp_path / "a",
        channels=3,
        store=str(tmp_path / "b" / "images.npy"),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert isinstance(found.images, np.memmap)
    assert not found.images.flags.writeable
    for images in (found.images, np.load(tmp_path / "b" / "images.npy")):
        assert images.dtype == np.uint8
        assert np.array_equal(images, expected.images)
    for name in ("paths", "skipped", "positions", "num_resized"):
        assert getattr(found, name) == getattr(expected, name)
    assert steps == [(done, 40) for done in range(1, 41)]
    assert names_in(tmp_path / "b") == ["images.npy"]


def test_a_store_takes_8_and_16_bits_together(tmp_path):
    folder(tmp_path, a=gray(8, 8, 51))
    tifffile.imwrite(tmp_path / "b.tif", np.full((8, 8), 13107, np.uint16))
    images = read_images(tmp_path, store=tmp_path / "images.npy").images
    assert images.dtype == np.float32
    assert np.allclose(images, 0.2)


def test_a_store_may_lie_in_the_folder_and_is_replaced_the_next_time(tmp_path):
    folder(tmp_path, a=gray(8, 8, 1))
    first = read_images(tmp_path, store=tmp_path / "images.npy")
    folder(tmp_path, b=gray(8, 8, 2))
    second = read_images(tmp_path, store=tmp_path / "images.npy")
    assert (first.paths, second.paths) == (("a.png",), ("a.png", "b.png"))
    assert first.images[:, 0, 0, 0].tolist() == [1]
    assert second.images[:, 0, 0, 0].tolist() == [1, 2]
    assert names_in(tmp_path) == ["a.png", "b.png", "images.npy"]


@pytest.mark.parametrize("step", [1, 3, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interruption_leaves_no_store(tmp_path, step, error):
    folder(tmp_path, a=gray(8, 8), b=gray(8, 8))

    def interrupt(done, _):
        if done == step:
            raise error

    with pytest.raises(error):
        read_images(tmp_path, store=tmp_path / "images.npy", progress=interrupt)
    assert names_in(tmp_path) == ["a.png", "b.png"]


def test_a_full_disk_and_a_bad_picture_leave_no_store(tmp_path, full_disk):
    folder(tmp_path, a=gray(100, 100), b=gray(100, 100), c=gray(100, 100))
    with full_disk(15_000), pytest.raises(OutputError, match="gave 'File too large'"):
        read_images(tmp_path, store=tmp_path / "images.npy")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:45])
    with pytest.raises(ImageError, match=r"decoding b\.png gave"):
        read_images(tmp_path, store=tmp_path / "images.npy", strict=True)
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:45])
    with pytest.raises(
        DataError, match=r"none of the 3 in .* is\. The first, a\.png: A picture must be"
    ):
        read_images(tmp_path, store=tmp_path / "images.npy")
    assert names_in(tmp_path) == ["a.png", "b.png", "c.png"]


def test_a_store_that_the_disk_has_no_room_for_is_refused_before_decoding(tmp_path, monkeypatch):
    folder(tmp_path, a=gray(8, 8), b=gray(8, 8))
    asked = []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(free=2 * 8 * 8)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    store = tmp_path / "new" / "folder" / "images.npy"
    with pytest.raises(
        OutputError,
        match=rf"free disk space; 2 images of 8 x 9 from .* would take 0\.0 GiB, and {tmp_path} "
        r"has 0\.0 GiB free\. Make room there, choose another path, or a smaller size\.",
    ):
        read_images(tmp_path, size=(8, 9), store=store)
    assert asked == [str(tmp_path)]
    assert names_in(tmp_path) == ["a.png", "b.png"]
    assert read_images(tmp_path, store=store).images.shape == (2, 8, 8, 1)


def test_a_store_of_another_kind_is_refused_before_anything_is_read(tmp_path):
    np.save(tmp_path / "labels.npy", np.arange(3))
    for store, error in (("images.png", ParameterError), (tmp_path / "labels.npy", OutputError)):
        with pytest.raises(error, match=r"Images are stored"):
            read_images(tmp_path / "missing", store=store)


def test_the_memory_limit_is_stated_even_where_the_system_does_not_tell(monkeypatch):
    assert memory.memory_limit() > 2**20
    monkeypatch.delattr(os, "sysconf")
    assert memory.memory_limit() == 8 * 2**30


def test_what_may_not_be_read_is_skipped(unprivileged):
    folder(unprivileged, a=gray(8, 8), b=gray(8, 8))
    folder(unprivileged / "closed", c=gray(8, 8))
    (unprivileged / "b.png").chmod(0)
    (unprivileged / "closed").chmod(0)
    try:
        found = read_images(unprivileged)
    finally:
        (unprivileged / "closed").chmod(0o700)
    assert found.paths == ("a.png",)
    assert [path for path, _ in found.skipped] == ["closed", "b.png"]
    assert "A folder must be readable; listing it gave" in found.skipped[0][1]
    assert "Change its permissions" in found.skipped[1][1]


def test_reading_pictures_loads_no_deep_learning():
    heavy = ("keras", "jax", "sklearn", "pyarrow", "pooch", "requests")
    program = (
        "import sys, convae.datasets, convae.images;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout.strip() == b"[]"
