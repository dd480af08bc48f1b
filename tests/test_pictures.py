import io
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from convae.errors import ImageError, OutputError
from convae.images import read_image, write_image
from convae.images.pictures import decode, read_header

RAMP = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
DEEP = RAMP.astype(np.uint16) * 256 + 17
COLORS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)
COLORS_ALPHA = np.concatenate([COLORS, RAMP[..., np.newaxis]], axis=-1)


def png(width, height, depth, color_type, rows=b"", extra=b""):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra and chunk(b"tRNS", extra),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def encoded(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def refused(path, text):
    with pytest.raises(ImageError, match=text) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def same_header(path):
    header = read_header(path, path.name)
    image = read_image(path)
    assert (header.height, header.width, header.channels) == image.shape
    assert header.dtype == image.dtype
    return image


@given(arrays.arrays(np.uint8, st.tuples(*[st.integers(8, 14)] * 2, st.sampled_from([1, 3, 4]))))
def test_what_is_written_is_read_back(tmp_path_factory, image):
    path = tmp_path_factory.mktemp("written") / "image.png"
    write_image(path, image)
    assert np.array_equal(same_header(path), image)


def test_a_gray_image_may_lack_its_channel_axis_when_written(tmp_path):
    write_image(tmp_path / "image.png", RAMP)
    assert np.array_equal(read_image(tmp_path / "image.png")[..., 0], RAMP)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_only_a_picture_is_written(tmp_path, image):
    with pytest.raises(ImageError, match=r"must be uint8 of shape.*received .*to_uint8"):
        write_image(tmp_path / "image.png", image)
    assert not list(tmp_path.iterdir())


def test_a_picture_is_not_written_over_a_folder(tmp_path):
    with pytest.raises(OutputError, match="writable where it was asked for"):
        write_image(tmp_path, RAMP)


LOSSLESS = [
    ("1", "a.png", 1),
    ("1", "a.tif", 1),
    ("L", "a.bmp", 1),
    ("L", "a.gif", 1),
    ("L", "a.tiff", 1),
    ("LA", "a.png", 4),
    ("P", "a.png", 3),
    ("P", "a.gif", 3),
    ("P", "a.tif", 3),
    ("RGB", "a.bmp", 3),
    ("RGB", "a.webp", 3),
    ("RGB", "a.tif", 3),
    ("RGBA", "a.webp", 4),
    ("RGBA", "a.tif", 4),
    ("CMYK", "a.tif", 3),
    ("YCbCr", "a.tif", 3),
]


@pytest.mark.parametrize(("mode", "name", "channels"), LOSSLESS)
def test_every_mode_becomes_the_colors_it_stands_for(tmp_path, mode, name, channels):
    picture = Image.fromarray(COLORS_ALPHA if mode in ("LA", "RGBA") else COLORS).convert(mode)
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    picture.save(tmp_path / name, **options)
    image = same_header(tmp_path / name)
    expected = np.asarray(picture.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    assert image.dtype == np.uint8
    assert np.array_equal(image, expected.reshape(12, 20, channels))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_close_to_what_it_was(tmp_path, mode):
    rows, columns = np.mgrid[:24, :32]
    smooth = np.stack([rows * 8, columns * 6, rows * 3 + columns * 2], axis=-1).astype(np.uint8)
    picture = Image.fromarray(smooth).convert(mode)
    picture.save(tmp_path / "a.jpg", quality=98, subsampling=0)
    image = same_header(tmp_path / "a.jpg")
    expected = np.asarray(picture if mode == "L" else picture.convert("RGB")).reshape(image.shape)
    assert np.abs(image.astype(int) - expected).max() <= 6


def test_a_gray_palette_is_gray(tmp_path):
    picture = Image.fromarray(RAMP // 16).convert("P")
    picture.putpalette([value for gray in range(16) for value in [gray * 17] * 3])
    picture.save(tmp_path / "a.png")
    assert np.array_equal(same_header(tmp_path / "a.png")[..., 0], RAMP // 16 * 17)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_transparent_color_becomes_alpha(tmp_path, mode):
    picture = Image.fromarray(COLORS).convert(mode)
    key = picture.getpixel((3, 3))
    picture.save(tmp_path / "a.png", transparency=key)
    image = same_header(tmp_path / "a.png")
    assert image.shape[-1] == 4
    assert set(np.unique(image[..., 3])) == {0, 255}


def test_gray_multiplied_by_its_alpha_is_divided_again(tmp_path):
    pixels = np.full((8, 8, 2), (50, 100), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", extrasamples=["assocalpha"]
    )
    image = same_header(tmp_path / "a.tif")
    assert image[0, 0].tolist() == [127, 127, 127, 100]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_gray_tiff_keeps_all_its_bits(tmp_path, byteorder, compression):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, byteorder=byteorder, compression=compression)
    image = same_header(tmp_path / "a.tif")
    assert image.dtype == np.float32
    assert np.array_equal(np.rint(image[..., 0] * 65535), DEEP)


def test_16_bit_gray_png_keeps_all_its_bits(tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP)
    (tmp_path / "a.png").write_bytes(png(20, 12, 16, 0, rows))
    assert np.array_equal(np.rint(same_header(tmp_path / "a.png")[..., 0] * 65535), DEEP)


def test_16_bit_values_in_32_bits_are_taken(tmp_path):
    Image.fromarray(DEEP.astype(np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="holds signed ones"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", DEEP.astype(np.uint32))
    assert np.array_equal(np.rint(same_header(tmp_path / "b.tif")[..., 0] * 65535), DEEP)


@pytest.mark.parametrize("pixels", [RAMP, DEEP, RAMP / np.float32(255)])
def test_a_scan_where_white_is_zero_is_turned_round(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", byteorder="<")
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="minisblack", byteorder="<")
    whole = 255 if pixels.dtype == np.uint8 else 1
    white, black = same_header(tmp_path / "a.tif"), same_header(tmp_path / "b.tif")
    assert np.allclose(white.astype(float), whole - black.astype(float), atol=1e-6)


def test_12_bit_gray_is_divided_by_its_own_largest_value():
    # Two values of 12 bits lie in three bytes.
    packed = np.array([0xFF, 0xF0, 0x00], np.uint8).tobytes() * 64
    tags = [
        (256, 4, 16), (257, 4, 8), (258, 3, 12), (259, 3, 1), (262, 3, 1),
        (273, 4, 122), (277, 3, 1), (278, 4, 8), (279, 4, len(packed)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    data = b"II*\0" + struct.pack("<I", 8) + directory + packed
    assert len(data) - len(packed) == 122
    image = decode(data, "a.tif")
    assert np.array_equal(image[0, :4, 0], np.array([1, 0, 1, 0], np.float32))


def test_floating_point_gray_in_its_range_is_taken(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RAMP / np.float32(255))
    assert np.array_equal(same_header(tmp_path / "a.tif")[..., 0], RAMP / np.float32(255))


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (np.full((8, 8), 2, np.float32), r"\[0, 1\]; .* holds floats outside that range\. Scale"),
        (np.full((8, 8), np.nan, np.float32), "holds floats outside that range"),
        (np.full((8, 8), 70_000, np.uint32), "holds integers outside that range"),
        (np.full((8, 8), 5, np.int16), r"unsigned values.*holds signed ones\. Scale it"),
        (np.full((8, 8), 5, np.int8), "holds signed ones"),
        (np.zeros((8, 8), np.float64), "or a kind of TIFF that cannot be read"),
        (np.zeros((8, 8, 3), np.uint16), r"must have 8 bits.*has 16\. Save it with 8 bits"),
        (np.zeros((8, 8, 4), np.uint16), r"must have 8 bits.*has 16\. Save it with 8 bits"),
    ],
)
def test_values_that_would_have_to_be_cut_are_refused(tmp_path, pixels, text):
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric)
    refused(tmp_path / "a.tif", text)


@pytest.mark.parametrize(("color_type", "planes"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_color_and_alpha_in_png_are_refused(tmp_path, color_type, planes):
    rows = bytes((1 + 2 * planes * 8) * 8)
    (tmp_path / "a.png").write_bytes(png(8, 8, 16, color_type, rows))
    refused(tmp_path / "a.png", "A color picture, or one with alpha, must have 8 bits")


def test_a_transparent_value_in_16_bit_gray_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(8, 8, 16, 0, bytes(17 * 8), extra=b"\0\0"))
    refused(tmp_path / "a.png", "A color picture, or one with alpha, must have 8 bits")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_orientation_of_the_camera_is_applied(tmp_path, kind, orientation):
    stored = np.zeros((16, 32), np.uint8)
    stored[:8, :16] = 255
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: stored.T[:, ::-1],
        7: stored.T[::-1, ::-1],
        8: stored.T[::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    Image.fromarray(stored).save(path, kind, exif=exif)
    image = same_header(path)[..., 0]
    assert image.shape == turned.shape
    assert ((image > 128) == (turned > 128)).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_frame_is_read(tmp_path, kind):
    frames = [Image.fromarray(np.full((9, 10), value, np.uint8)) for value in (200, 10)]
    path = tmp_path / "a"
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    assert (same_header(path)[..., 0] == 200).all()


@pytest.mark.parametrize("side", [8001, 10_000, 20_000, 60_000])
def test_a_header_that_promises_too_much_is_refused_before_decoding(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png(side, side, 8, 0))
    text = rf"at most 64,000,000 pixels; the header of .* says {side * side:,}\. Make it smaller"
    refused(tmp_path / "a.png", text)
    with pytest.raises(ImageError, match=text):
        read_header(tmp_path / "a.png", "a.png")


def test_a_picture_under_8_pixels_is_refused(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((7, 30, 3), np.uint8))
    refused(tmp_path / "a.png", "8 pixels or more on each side; .* is 30 wide and 7 high. Enlarge")


def test_a_text_named_png_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    refused(tmp_path / "a.png", "must be a PNG.*holds something else.*Save it again as PNG")


def test_a_format_that_is_not_named_is_refused(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png", "PPM")
    refused(tmp_path / "a.png", "must be a PNG.*holds something else")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    refused(tmp_path / "a.png", "must hold data; .* is empty. Copy it again")


def test_nothing_a_folder_and_a_pipe_are_refused(tmp_path):
    refused(tmp_path / "missing.png", "must exist; there is nothing at .* Check the path")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "must be a file; .* is a folder. Pass")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "must be a file; .* is a device or a pipe. Pass")


def test_a_picture_without_permission_is_refused(unprivileged):
    write_image(unprivileged / "a.png", RAMP)
    (unprivileged / "a.png").chmod(0)
    refused(unprivileged / "a.png", "must be readable; .* Change its permissions")


def test_a_name_with_any_bytes_can_be_printed(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as stream:  # noqa: PTH123 (a path of bytes)
        stream.write(b"no picture")
    with pytest.raises(ImageError) as caught:
        read_image(os.fsdecode(path))
    assert "??.png" in str(caught.value).encode().decode()


WHOLE = {
    "png": encoded(Image.fromarray(COLORS_ALPHA), "PNG"),
    "palette": encoded(Image.fromarray(COLORS).convert("P"), "PNG"),
    "jpeg": encoded(Image.fromarray(COLORS), "JPEG"),
    "progressive": encoded(Image.fromarray(COLORS), "JPEG", progressive=True),
    "gif": encoded(Image.fromarray(COLORS), "GIF"),
    "bmp": encoded(Image.fromarray(COLORS), "BMP"),
    "webp": encoded(Image.fromarray(COLORS), "WEBP"),
    "tiff": encoded(Image.fromarray(DEEP), "TIFF"),
    "deflated": encoded(Image.fromarray(COLORS), "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_no_truncation_gives_another_picture(kind):
    data = WHOLE[kind]
    whole = decode(data, kind)
    refusals = 0
    for length in range(len(data)):
        try:
            image = decode(data[:length], kind)
        except ImageError:
            refusals += 1
        else:
            assert np.array_equal(image, whole)
    assert refusals > len(data) / 2


@given(kind=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_damage_is_refused_or_decoded_and_nothing_else(kind, data):
    damaged = bytearray(WHOLE[kind])
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for read in (read_header, decode):
        try:
            read(bytes(damaged), "a")
        except ImageError as error:
            assert " a " in str(error)  # noqa: PT017 (it need not be raised)
