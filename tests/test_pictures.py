import io
import os
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from convae.errors import ImageError, MissingExtraError, OutputError
from convae.images import read_exact, read_image, write_image
from convae.images.pictures import decode, decode_exact, read_header

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
    with pytest.raises(ImageError, match=r"must be uint8 or uint16 of shape.*received .*to_uint8"):
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


def tiff_of_12_bits(values):
    # Two values of 12 bits lie in three bytes.
    height, width = values.shape
    pairs = values.reshape(-1, 2)
    triples = [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255]
    packed = np.stack(triples, axis=-1).astype(np.uint8).tobytes()
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 12), (259, 3, 1), (262, 3, 1),
        (273, 4, 122), (277, 3, 1), (278, 4, height), (279, 4, len(packed)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    data = b"II*\0" + struct.pack("<I", 8) + directory + packed
    assert len(data) - len(packed) == 122
    return data


def test_12_bit_gray_is_divided_by_its_own_largest_value():
    values = np.tile(np.array([4095, 0], int), (8, 8))
    image = decode(tiff_of_12_bits(values), "a.tif")
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
        (np.zeros((8, 8, 3), np.uint32), "or a kind of TIFF that cannot be read"),
    ],
)
def test_values_that_would_have_to_be_cut_are_refused(tmp_path, pixels, text):
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric)
    refused(tmp_path / "a.tif", text)


DEEP_COLORS = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1], DEEP[::-1, ::-1]], axis=-1)


def deep_file(kind, pixels):
    if kind == "PNG":
        return imagecodecs.png_encode(np.array(pixels))
    if kind == "JPEG 2000":
        return imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2")
    stream = io.BytesIO()
    planes = "planes" in kind
    tifffile.imwrite(
        stream,
        np.moveaxis(pixels, -1, 0) if planes else pixels,
        photometric="rgb",
        planarconfig="separate" if planes else "contig",
        extrasamples=["unassalpha"] * (pixels.shape[-1] - 3),
        compression="zlib" if "packed" in kind else None,
        byteorder=">" if "big" in kind else "<",
    )
    return stream.getvalue()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG 2000", "TIFF", "TIFF packed", "TIFF planes", "TIFF big packed planes"]
)
def test_16_bit_color_keeps_all_its_bits(tmp_path, kind, channels):
    pixels = DEEP_COLORS[..., :channels]
    path = tmp_path / "a"
    path.write_bytes(deep_file(kind, np.ascontiguousarray(pixels)))
    assert np.array_equal(read_exact(path), pixels)
    image = same_header(path)
    assert image.dtype == np.float32
    assert np.array_equal(np.rint(image * 65535), pixels)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["PNG", "JPEG 2000", "TIFF", "TIFF planes"])
@pytest.mark.parametrize("side", [1, 3, 4])
def test_small_pictures_with_16_bits_in_color_keep_their_axes(tmp_path, kind, channels, side):
    pixels = np.ascontiguousarray(DEEP_COLORS[:side, :side, :channels])
    path = tmp_path / "a"
    path.write_bytes(deep_file(kind, pixels))
    assert np.array_equal(read_exact(path), pixels)


def test_16_bit_gray_with_alpha_becomes_color(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(DEEP_COLORS[..., :2])))
    assert np.array_equal(read_exact(path), DEEP_COLORS[..., [0, 0, 0, 1]])
    assert same_header(path).shape == (12, 20, 4)


def test_16_bit_color_is_written_and_read_back(tmp_path):
    for channels in (3, 4):
        for side in (1, 2, 20):
            pixels = DEEP_COLORS[:side, :side, :channels]
            write_image(tmp_path / "a.png", pixels)
            assert np.array_equal(read_exact(tmp_path / "a.png"), pixels)


def test_16_bit_color_names_the_extra_it_takes(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, DEEP_COLORS)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    text = r"optional package to read; .*has 16\. Save it.*pip install \"convae\[formats\]\""
    refused(path, text)
    with pytest.raises(ImageError, match=text):
        read_exact(path)
    with pytest.raises(MissingExtraError, match=r"Writing color of 16 bits as PNG needs"):
        write_image(tmp_path / "b.png", DEEP_COLORS)
    assert not (tmp_path / "b.png").exists()


def test_color_of_other_bits_is_refused(tmp_path):
    pixels = DEEP_COLORS[..., :3] >> 6
    path = tmp_path / "a.avif"
    path.write_bytes(imagecodecs.avif_encode(pixels, bitspersample=10))
    refused(path, r"must have 8 bits for each channel, or 16; .* has 10 bits")
    path = tmp_path / "a.jp2"
    path.write_bytes(
        imagecodecs.jpeg2k_encode(pixels >> 1, level=0, codecformat="jp2", bitspersample=9)
    )
    refused(path, r"must have 8 bits for each channel, or 16; .* has 9 bits")


def test_a_transparent_value_of_16_bits_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(8, 8, 16, 0, bytes(17 * 8), extra=b"\0\0"))
    refused(tmp_path / "a.png", "gray picture with one transparent value must have 8 bits")
    (tmp_path / "b.png").write_bytes(png(8, 8, 16, 2, bytes(49 * 8), extra=bytes(6)))
    refused(tmp_path / "b.png", "has 16 bits and one transparent color")


@pytest.mark.parametrize(
    ("mode", "name", "text"),
    [
        ("CMYK", "a.tif", "is CMYK"),
        ("CMYK", "a.jpg", "is CMYK"),
        ("YCbCr", "a.tif", "is YCbCr"),
        ("F", "a.tif", "holds floats"),
    ],
)
def test_what_rgb_cannot_hold_exactly_is_not_read_exactly(tmp_path, mode, name, text):
    picture = Image.fromarray(RAMP if mode == "F" else COLORS).convert(mode)
    picture.save(tmp_path / name)
    with pytest.raises(ImageError, match=rf"must be gray or RGB of 8 or 16 bits.*{text}\. Save it"):
        read_exact(tmp_path / name)


@pytest.mark.parametrize(
    ("extra", "text"),
    [("assocalpha", "colors multiplied by its alpha"), ("unspecified", "has 4 channels, not all")],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_channel_that_would_be_lost_or_changed_is_not_read_exactly(tmp_path, extra, text, dtype):
    path = tmp_path / "a.tif"
    pixels = DEEP_COLORS if dtype == np.uint16 else COLORS_ALPHA
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=[extra])
    with pytest.raises(ImageError, match=text):
        read_exact(path)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 3)])
def test_exact_reading_takes_sides_of_one_pixel(tmp_path, shape):
    pixels = np.arange(np.prod(shape) * 3, dtype=np.uint8).reshape(*shape, 3)
    write_image(tmp_path / "a.png", pixels)
    assert np.array_equal(read_exact(tmp_path / "a.png"), pixels)


def test_12_bit_gray_fills_16_bits_and_can_be_brought_back(tmp_path):
    values = np.arange(4096).reshape(64, 64)
    (tmp_path / "a.tif").write_bytes(tiff_of_12_bits(values))
    exact = read_exact(tmp_path / "a.tif")[..., 0]
    assert exact.dtype == np.uint16
    assert (exact.min(), exact.max()) == (0, 65535)
    assert np.array_equal(np.rint(exact / 65535 * 4095), values)
    assert np.allclose(read_image(tmp_path / "a.tif")[..., 0], exact / 65535, atol=1e-5)


def text_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/>'
    "</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("by", ["eXIf", "XMP"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_png_is_turned_wherever_it_says_so(tmp_path, late, by, deep):
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = text_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    if by == "XMP":
        chunk = text_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode())
    pixels = np.ascontiguousarray(DEEP_COLORS[..., :3]) if deep else COLORS
    data = imagecodecs.png_encode(pixels)
    place = data.rindex(b"IEND") - 4 if late else data.index(b"IDAT") - 4
    path = tmp_path / "a.png"
    path.write_bytes(data[:place] + chunk + data[place:])
    turned = np.rot90(pixels, -1)
    assert np.array_equal(read_exact(path), turned)
    assert same_header(path).shape == turned.shape


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_header_is_turned_as_the_picture_is_by_xmp_alone(tmp_path, kind):
    options = {"tiffinfo": {700: XMP.encode()}} if kind == "TIFF" else {"xmp": XMP.encode()}
    Image.fromarray(COLORS).save(tmp_path / "a", kind, **options)
    assert same_header(tmp_path / "a").shape == (20, 12, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_color_is_turned_as_8_bits_are(tmp_path, kind, orientation):
    pixels = np.ascontiguousarray(DEEP_COLORS[..., :3])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((pixels >> 8).astype(np.uint8)).save(tmp_path / "a", kind, exif=exif)
    if kind == "PNG":
        data = imagecodecs.png_encode(pixels)
        chunk = text_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        place = data.index(b"IDAT") - 4
        (tmp_path / "b").write_bytes(data[:place] + chunk + data[place:])
    else:
        tags = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(tmp_path / "b", pixels, photometric="rgb", extratags=tags)
    assert np.array_equal(read_exact(tmp_path / "b") >> 8, read_exact(tmp_path / "a"))
    same_header(tmp_path / "b")


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


@pytest.mark.parametrize("kind", ["AVIF", "GIF", "MPO", "PNG", "TIFF", "WEBP"])
def test_the_first_frame_is_read_and_it_is_known_that_there_are_more(tmp_path, kind):
    frames = [Image.fromarray(np.full((9, 10), value, np.uint8)) for value in (200, 10)]
    path = tmp_path / "a"
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    assert (same_header(path)[..., 0] == 200).all()
    image, more_frames = decode_exact(path, "a")
    assert (image[..., 0] == 200).all()
    assert more_frames
    assert read_header(path, "a").more_frames
    frames[0].save(path, "JPEG" if kind == "MPO" else kind)
    assert not decode_exact(path, "a")[1]
    assert not read_header(path, "a").more_frames


def test_the_first_frame_of_a_gif_keeps_its_own_colors(tmp_path):
    frames = [Image.fromarray(COLORS).quantize(20), Image.fromarray(COLORS[::-1]).quantize(9)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    expected = np.asarray(frames[0].convert("RGB"))
    assert np.array_equal(read_exact(tmp_path / "a.gif"), expected)
    assert np.array_equal(same_header(tmp_path / "a.gif"), expected)


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


def test_paths_that_lead_nowhere_are_refused_with_the_reason(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    text = "must be readable; opening .* gave 'Too many levels of symbolic links'. Check the path"
    refused(tmp_path / "loop.png", text)
    refused(tmp_path / ("n" * 300), "must be readable; opening .* gave 'File name too long'")
    with pytest.raises(ImageError, match="in quotes: write the path in full"):
        read_image("~/a.png")
    refused(tmp_path / "*.png", r"A pattern with \* is not expanded here: pass the folder")


def test_a_png_without_pixels_is_refused(tmp_path):
    data = png(16, 16, 8, 2)
    end = data.rindex(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(data[: data.index(b"IDAT") - 4] + data[end:])
    refused(tmp_path / "a.png", "must be whole; decoding .* gave 'no pixels'")


def test_what_decoders_log_of_a_damaged_file_is_no_line_on_standard_error(tmp_path):
    data = bytearray(imagecodecs.png_encode(np.ascontiguousarray(DEEP_COLORS)))
    data[data.rindex(b"IEND") - 9] ^= 1  # the last byte of the check of the pixels
    (tmp_path / "a.png").write_bytes(data)
    # In a process of its own, since pytest listens to all logging.
    code = """
import sys
from convae.errors import ImageError
from convae.images import read_exact
try:
    read_exact(sys.argv[1])
except ImageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True
    )
    assert "must be whole; decoding" in done.stdout
    assert "incorrect data check" in done.stdout
    assert done.stderr == ""


def test_what_libtiff_finds_is_a_reason_and_no_line_on_standard_error(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 2, (32, 32)).astype(bool)
    Image.fromarray(noise).save(tmp_path / "a.tif", compression="group4")
    assert np.array_equal(read_exact(tmp_path / "a.tif")[..., 0], noise * np.uint8(255))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[40:60] = b"\xff" * 20
    (tmp_path / "b.tif").write_bytes(data)
    refused(tmp_path / "b.tif", "gave 'libtiff: Fax4Decode: Bad code word'. Copy it again")
    assert np.array_equal(read_exact(tmp_path / "a.tif")[..., 0], noise * np.uint8(255))
    assert capfd.readouterr().err == ""


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
    "avif": encoded(Image.fromarray(COLORS), "AVIF"),
    "jpeg2000": encoded(Image.fromarray(COLORS), "JPEG2000"),
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
