# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import base64
import contextlib
import struct
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shifted_images import textured_image

from mdflow_ros.core.image_decoding import (
    SUPPORTED_ENCODINGS,
    CorruptImage,
    UnsupportedEncoding,
    decode_compressed_image,
    decode_image,
)
from mdflow_ros.core.image_headers import read_compressed_size
from mdflow_ros.core.intensity import IntensityStretch

# One pixel each of red, green, blue and gray, twice over so that both sides are even.
RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [128, 128, 128]]], np.uint8)


def padded(rows: np.ndarray, padding: int) -> tuple[bytes, int]:
    """Return the rows' bytes with ``padding`` bytes of rubbish behind each, and the step."""
    flat = rows.reshape(rows.shape[0], -1)
    filled = np.full((flat.shape[0], flat.shape[1] + padding), 77, np.uint8)
    filled[:, : flat.shape[1]] = flat
    return filled.tobytes(), filled.shape[1]


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack((RGB, np.full((2, 2), 9, np.uint8)))),
        ("bgra8", np.dstack((RGB[..., ::-1], np.full((2, 2), 9, np.uint8)))),
    ],
)
def test_color_channels_and_row_padding(encoding: str, pixels: np.ndarray, padding: int) -> None:
    data, step = padded(np.ascontiguousarray(pixels), padding)
    np.testing.assert_array_equal(decode_image(encoding, 2, 2, step, False, data), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray(encoding: str) -> None:
    data, step = padded(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), 2)
    np.testing.assert_array_equal(decode_image(encoding, 2, 3, step, False, data)[..., 1], [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("big", [True, False])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_sixteen_bits_in_either_byte_order(encoding: str, big: bool) -> None:
    values = np.array([[0x0180, 0xFF00], [0x1234, 0xABCD]], ">u2" if big else "<u2")
    data, step = padded(values.view(np.uint8), 6)
    np.testing.assert_array_equal(decode_image(encoding, 2, 2, step, big, data)[..., 0], [[1, 255], [0x12, 0xAB]])


@pytest.mark.parametrize(
    ("encoding", "pattern"), [("rggb", "rggb"), ("bggr", "bggr"), ("gbrg", "gbrg"), ("grbg", "grbg")]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_start_at_the_named_pixel(encoding: str, pattern: str, bits: int) -> None:
    color = {"r": 200, "g": 100, "b": 50}
    tile = np.array([color[c] for c in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (4, 4))
    data = mosaic if bits == 8 else mosaic.astype("<u2") << 8
    decoded = decode_image(f"bayer_{encoding}{bits}", 8, 8, 8 * bits // 8, False, data.tobytes())
    np.testing.assert_array_equal(decoded[4, 4], [200, 100, 50])


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv")])
def test_yuv422(encoding: str, order: str) -> None:
    # BT.601 studio range: Y 145, U 54, V 34 is pure green.
    samples = {"y": 145, "u": 54, "v": 34}
    data, step = padded(np.tile(np.array([samples[c] for c in order], np.uint8), (2, 2)), 3)
    green = decode_image(encoding, 2, 4, step, False, data)
    assert np.abs(green.astype(int) - [0, 255, 0]).max() <= 3


def test_unknown_encoding_lists_the_known_ones() -> None:
    with pytest.raises(UnsupportedEncoding, match=r"64FC9.*rgb8"):
        decode_image("64FC9", 2, 2, 2, False, b"")


@pytest.mark.parametrize(
    ("height", "width", "step", "size"),
    [(0, 4, 12, 48), (4, 0, 12, 48), (4, 4, 11, 47), (4, 4, 12, 47), (4, 4, 12, 0), (2**31, 4, 12, 48)],
)
def test_corrupt_images_are_refused(height: int, width: int, step: int, size: int) -> None:
    with pytest.raises(CorruptImage):
        decode_image("rgb8", height, width, step, False, bytes(size))


def test_the_last_row_needs_no_padding() -> None:
    assert decode_image("mono8", 2, 3, 8, False, bytes(8 + 3)).shape == (2, 3, 3)
    with pytest.raises(CorruptImage, match="10 bytes of data, but 2 rows with a step of 8 take 11"):
        decode_image("mono8", 2, 3, 8, False, bytes(8 + 2))


def test_a_step_that_counts_nothing_or_pixels_is_not_needed_for_packed_rows() -> None:
    for step in (0, 2):
        np.testing.assert_array_equal(decode_image("rgb8", 2, 2, step, False, RGB.tobytes()), RGB)
    with pytest.raises(CorruptImage, match="step of 2 bytes, but a row of 2 rgb8 pixels takes 6"):
        decode_image("rgb8", 2, 2, 2, False, RGB.tobytes() + b"padding")


@pytest.mark.parametrize(
    ("encoding", "width", "bytes_per_pixel", "meant"),
    [
        ("mono8", 640, 3, "rgb8"),
        ("mono8", 1024, 3, "rgb8"),
        ("bayer_rggb8", 1920, 3, "rgb8"),
        ("mono8", 640, 2, "mono16"),
        ("rgb8", 1280, 4, "rgba8"),
        ("mono16", 640, 6, "rgb16"),
    ],
)
def test_pixels_of_another_size_are_no_padding(encoding: str, width: int, bytes_per_pixel: int, meant: str) -> None:
    step = width * bytes_per_pixel
    with pytest.raises(CorruptImage, match=f"step says {bytes_per_pixel} bytes a pixel, {encoding} .* mean {meant}"):
        decode_image(encoding, 4, width, step, False, bytes(4 * step))


@pytest.mark.parametrize("alignment", [2**power for power in range(13)])
@pytest.mark.parametrize("encoding", ["mono8", "bayer_rggb8", "mono16", "yuv422", "rgb8", "rgba8", "rgb16"])
def test_rows_may_be_aligned_to_every_power_of_two(encoding: str, alignment: int) -> None:
    size = {"rgb8": 3, "rgba8": 4, "rgb16": 6, "mono16": 2, "yuv422": 2}.get(encoding, 1)
    for width in (*range(2, 130, 2), 160, 320, 640, 752, 800, 848, 1024, 1280, 1920, 2048, 3840):
        step = -(-width * size // alignment) * alignment
        assert decode_image(encoding, 2, width, step, False, bytes(2 * step)).shape == (2, width, 3)


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 7)])
def test_every_listed_encoding_decodes(encoding: str, height: int, width: int) -> None:
    decoded = decode_image(encoding.upper(), height, width, 128, False, bytes(4096))
    assert decoded.shape == (height, width, 3) and decoded.dtype == np.uint8


def planar(name: str, luma: np.ndarray, color: np.ndarray, padding: int) -> tuple[bytes, int]:
    """Return a planar image of a luma and a full-resolution (U, V) field, its rows padded, and the step."""
    step = luma.shape[1] + padding
    if name in ("nv21", "nv61", "nv42", "yv12"):  # V before U
        color = color[..., ::-1]
    down = 2 if name in ("nv12", "nv21", "i420", "yv12") else 1
    across = 1 if name in ("nv24", "nv42") else 2
    color = color[::down, ::across]
    if name in ("i420", "yv12"):
        planes = [(color[..., 0], step // 2), (color[..., 1], step // 2)]
    else:
        planes = [(color.reshape(len(color), -1), step * 2 // across)]
    return b"".join(padded(plane, length - plane.shape[1])[0] for plane, length in [(luma, step), *planes]), step


@pytest.mark.parametrize("name", ["nv12", "nv21", "nv16", "nv61", "nv24", "nv42", "i420", "yv12"])
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    padding=st.sampled_from([0, 2, 32]),
    color=st.tuples(st.integers(60, 200), st.integers(80, 176), st.integers(80, 176)),
)
def test_planar_yuv_has_the_right_color(
    name: str, rows: int, columns: int, padding: int, color: tuple[int, int, int]
) -> None:
    height, width = 2 * rows, 2 * columns
    y, u, v = color
    luma = np.full((height, width), y, np.uint8)
    data, step = planar(name, luma, np.broadcast_to(np.array([u, v], np.uint8), (height, width, 2)), padding)
    # BT.601, 16 to 235
    scaled = 1.164 * (y - 16)
    expected = (
        scaled + 1.596 * (v - 128),
        scaled - 0.813 * (v - 128) - 0.391 * (u - 128),
        scaled + 2.018 * (u - 128),
    )
    decoded = decode_image(name, height, width, step, False, data)
    assert np.abs(decoded - np.clip(expected, 0, 255)).max() <= 2


def test_odd_sides_keep_their_pixels() -> None:
    luma = np.arange(15, dtype=np.uint8).reshape(3, 5) * 10 + 60
    data = luma.tobytes() + bytes([128]) * (2 * 3 * 2)
    decoded = decode_image("nv12", 3, 5, 5, False, data)
    np.testing.assert_allclose(decoded[..., 1], 1.164 * (luma.astype(float) - 16), atol=1.5)
    even = decode_image("bayer_rggb8", 4, 4, 4, False, bytes(range(100, 116)))
    odd = decode_image("bayer_rggb8", 3, 3, 4, False, bytes(range(100, 116)))
    np.testing.assert_array_equal(odd[1, 1], even[1, 1])


@pytest.mark.parametrize("name", ["nv12", "i420"])
@pytest.mark.parametrize("step", [64, 96])
def test_rows_that_a_hardware_decoder_adds_are_not_taken_for_colors(name: str, step: int) -> None:
    height, width = 36, 64
    luma, added = np.full((height, step), 120, np.uint8), np.zeros((48 - height, step), np.uint8)
    color = np.full((24, step), 150, np.uint8)  # the same for U and V
    padded = np.concatenate([luma, added, color]).tobytes()
    exact = np.concatenate([luma, color[:18]]).tobytes()
    decoded = decode_image(name, height, width, step, False, padded)
    np.testing.assert_array_equal(decoded, decode_image(name, height, width, step, False, exact))
    assert np.ptp(decoded.reshape(-1, 3), axis=0).max() == 0


@pytest.mark.parametrize("name", ["nv12", "nv21", "i420", "yv12"])
def test_a_height_that_counts_the_rows_of_color_is_named(name: str) -> None:
    with pytest.raises(CorruptImage, match=f"height of 72 includes the chroma rows of {name}; .* must say 48"):
        decode_image(name, 72, 64, 64, False, bytes(64 * 72))
    assert decode_image(name, 72, 64, 96, False, bytes(96 * 72)).shape == (72, 64, 3), "a step of 12 bits a pixel"
    with pytest.raises(CorruptImage, match=f"a {name} image of this size and step takes"):
        decode_image(name, 72, 64, 128, False, bytes(128 * 72))  # a step of two bytes a pixel, as Isaac Sim writes


def test_twelve_bits_are_stretched_alike_in_both_images() -> None:
    texture = np.random.default_rng(0).integers(0, 3760, (48, 64)).astype("<u2")
    stretch = IntensityStretch()
    first, second = (
        decode_image("mono16", 48, 64, 128, False, image.tobytes(), stretch)
        for image in (texture, np.roll(texture, 3, axis=1))
    )
    np.testing.assert_array_equal(np.roll(first, 3, axis=1), second)
    assert first.std() > 40 and stretch.changes == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pngs_of_bayer_patterns_are_converted_as_raw_ones_are(dtype: type) -> None:
    pattern = np.full((8, 8), 10, np.uint8)
    pattern[::2, ::2] = 200  # red in the corner
    samples = pattern.astype(dtype) * (257 if dtype is np.uint16 else 1)
    png = cv2.imencode(".png", samples)[1].tobytes()
    bits = np.dtype(dtype).itemsize * 8
    decoded = decode_compressed_image(png, f"bayer_rggb{bits}; png compressed ")
    assert (decoded == decode_image("bayer_rggb8", 8, 8, 8, False, pattern.tobytes())).all()
    assert decoded[4, 4, 0] == 200 and decoded[4, 4, 2] == 10


def test_compressed_images_of_sixteen_bits_are_stretched() -> None:
    thermal = np.random.default_rng(0).integers(7400, 8260, (48, 64)).astype(np.uint16)
    decoded = decode_compressed_image(cv2.imencode(".png", thermal)[1].tobytes(), stretch=IntensityStretch())
    assert decoded.shape == (48, 64, 3) and decoded.std() > 40


def test_a_huge_image_is_refused_by_its_header() -> None:
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = (30_000).to_bytes(2, "big") * 2
    png = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    png[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    for data, size in ((jpeg, "30000x30000"), (png, "2147483647x2147483647")):
        with pytest.raises(CorruptImage, match=size):
            decode_compressed_image(bytes(data))


def test_a_size_beyond_the_first_megabyte_counts_too() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    tiff, jpeg = (cv2.imencode(kind, noise)[1].tobytes() for kind in (".tiff", ".jpg"))
    assert struct.unpack_from("<I", tiff, 4)[0] > 1 << 20, "the directory is at the end"
    profile = (b"\xff\xe2" + struct.pack(">H", 65535) + bytes(65533)) * 20
    for data in (tiff, jpeg[:2] + profile + jpeg[2:]):
        assert decode_compressed_image(data).shape == (700, 800, 3)
        with pytest.raises(CorruptImage, match=r"800x700 pixels, the limit is 0\.5 million"):
            decode_compressed_image(data, max_pixels=500_000)


@pytest.mark.parametrize("kind", [".gif", ".avif", ".pam", ".ras", ".hdr", ".pfm"])
def test_a_format_whose_size_is_unknown_is_refused(kind: str) -> None:
    try:
        data = cv2.imencode(kind, np.zeros((64, 64, 3), np.float32 if kind in (".hdr", ".pfm") else np.uint8))[1]
    except cv2.error:
        pytest.skip(f"this OpenCV writes no {kind}")
    with pytest.raises(CorruptImage, match="not JPEG, PNG, WebP, TIFF, BMP, PNM or JP2; publish one of these"):
        decode_compressed_image(data.tobytes())


def test_headers_that_claim_another_size_than_the_decoder_finds() -> None:
    entries = [struct.pack("<HHII", tag, kind, 1, side) for kind, side in ((4, 9000), (4, 1)) for tag in (256, 257)]
    twice = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    assert read_compressed_size(twice) == (9000, 9000)
    assert read_compressed_size(twice.replace(struct.pack("<HH", 256, 4), struct.pack("<HH", 256, 16))) is None
    assert read_compressed_size(b"P5 #\r9000 9000\n1 1 255\n") == (9000, 9000)
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert read_compressed_size(jpeg[:2] + b"\0junk\xff\0" + jpeg[2:]) == (8, 8), "libjpeg skips it"
    thumbnail = cv2.imencode(".jpg", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    exif = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert read_compressed_size(jpeg[:2] + b"\xff\x01" + exif + jpeg[2:]) == (8, 8), "not that of the thumbnail"


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xe0\0\2"], ids=["fill bytes", "segments"])
def test_a_long_header_does_not_delay_the_next_image(filling: bytes) -> None:
    begin = time.process_time()
    assert read_compressed_size(b"\xff\xd8" + filling * (10_000_000 // len(filling))) is None
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".pgm", ".jp2"])
@pytest.mark.parametrize(("height", "width"), [(35, 53), (240, 321)])
def test_the_header_gives_the_size(kind: str, height: int, width: int) -> None:
    image = np.zeros((height, width) if kind == ".pgm" else (height, width, 3), np.uint8)
    assert read_compressed_size(cv2.imencode(kind, image)[1].tobytes()) == (width, height)


@pytest.mark.parametrize(("channels", "kind"), [(3, b"VP8 "), (4, b"VP8X")])
def test_the_header_of_lossy_webp_gives_the_size(channels: int, kind: bytes) -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 53, channels), np.uint8)
    data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 50])[1].tobytes()
    assert data[12:16] == kind and read_compressed_size(data) == (53, 300)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "value"), [(3, "H2x"), (4, "I")])
def test_the_header_of_tiff_gives_the_size_in_both_orders_and_types(order: str, kind: int, value: str) -> None:
    entries = ((254, 4, "I", 0), (256, kind, value, 321), (257, kind, value, 70_000 if kind == 4 else 240))
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, of_kind, of_value, number in entries:
        data += struct.pack(f"{order}HHI{of_value}", tag, of_kind, 1, number)
    assert read_compressed_size(data) == (321, entries[-1][-1])


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0", b"P6 "]),
)
def test_arbitrary_bytes_are_refused_as_corrupt(data: bytes, head: bytes) -> None:
    with contextlib.suppress(CorruptImage):
        decode_compressed_image(head + data)


@pytest.mark.parametrize(
    ("image_format", "problem"),
    [
        ("16UC1; compressedDepth png", "depth image"),
        ("h264", "video stream"),
        ("H265", "video stream"),
        ("rgb8; zstd", "zstd copy"),
    ],
)
def test_what_is_no_picture_is_named(image_format: str, problem: str) -> None:
    with pytest.raises(UnsupportedEncoding, match=problem):
        decode_compressed_image(b"anything", image_format)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\1\x67", "H.264"),
        (base64.b64encode(cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1]), "base64 text"),
        (base64.b64encode(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1]), "base64 text"),
        (b"", "empty"),
    ],
)
def test_data_that_is_no_picture_is_named(data: bytes, problem: str) -> None:
    with pytest.raises(CorruptImage, match=problem):
        decode_compressed_image(data)


def jpeg_with_orientation(image: np.ndarray, orientation: int) -> bytes:
    """Encode a gray image as a JPEG whose EXIF holds the tag Orientation (0x0112) alone."""
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda stored: stored),
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: np.rot90(stored, 2).T),
        (8, np.rot90),
    ],
)
def test_a_photograph_is_upright_and_a_message_stays_as_stored(orientation: int, turn) -> None:
    stored = np.kron(np.array([[0, 80, 160], [240, 120, 40]], np.uint8), np.ones((16, 16), np.uint8))
    data = jpeg_with_orientation(stored, orientation)
    for upright, expected in ((True, turn(stored)), (False, stored)):
        image = decode_compressed_image(data, upright=upright)
        assert image.shape == (*expected.shape, 3)
        assert np.abs(image[..., 0].astype(int) - expected).max() <= 3


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff" * 9, bytes(5)])
def test_a_jpeg_without_its_end_marker_is_whole(end: bytes) -> None:
    encoded = cv2.imencode(".jpg", textured_image(96, 128))[1].tobytes()
    without = encoded.removesuffix(b"\xff\xd9")
    expected = decode_compressed_image(encoded)
    np.testing.assert_array_equal(decode_compressed_image(without + end), expected)
    for missing in (40, len(encoded) // 2):
        with pytest.raises(CorruptImage):
            decode_compressed_image(without[:-missing] + end)


@pytest.mark.parametrize(("first", "after"), [(0.5, 1), (0.3, 0.5), (0.85, 0.9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_that_lost_a_part_is_refused(first: float, after: float, channels: int) -> None:
    image = textured_image(240, 320)
    encoded = cv2.imencode(".jpg", image if channels == 3 else image[..., 1])[1].tobytes()
    lost = encoded[: int(first * len(encoded))] + encoded[int(after * (len(encoded) - 2)) :]
    for upright in (True, False):
        with pytest.raises(CorruptImage, match="they are damaged"):
            decode_compressed_image(lost, upright=upright)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("padding", [b"", bytes(9)])
def test_a_jpeg_that_ends_with_gray_is_whole(options: tuple[int, ...], padding: bytes) -> None:
    image = textured_image(96, 128)
    image[-40:] = 128
    encoded = cv2.imencode(".jpg", image, options)[1].tobytes() + padding
    decoded = decode_compressed_image(encoded)
    assert (decoded[-1] == 128).all() and decoded[:40].std() > 10
    np.testing.assert_array_equal(decode_compressed_image(encoded, upright=True), decoded)


def tiff(samples: np.ndarray, sample_format: int = 1, orientation: int = 1) -> bytes:
    """Return an uncompressed gray TIFF of 8 bits; ``sample_format`` 1 is unsigned, 2 signed."""
    height, width = samples.shape
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 274: orientation, 277: 1, 278: height}
    values |= {279: samples.size, 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(values.items()))
    directory = struct.pack("<H", len(values)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + samples.size) + samples.tobytes() + directory


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_of_a_message_stays_as_stored_too(orientation: int) -> None:
    stored = np.arange(200, dtype=np.uint8).reshape(10, 20)
    data = tiff(stored, orientation=orientation)
    np.testing.assert_array_equal(decode_compressed_image(data)[..., 0], stored)
    turned = np.rot90(stored, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    np.testing.assert_array_equal(decode_compressed_image(data, upright=True)[..., 0], turned)


def test_signed_bytes_keep_their_steps() -> None:
    samples = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
    decoded = decode_compressed_image(tiff(samples, sample_format=2), stretch=IntensityStretch())
    np.testing.assert_array_equal(decoded[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize(("maximum", "factor"), [(15, 17), (51, 5), (255, 1)])
@pytest.mark.parametrize("comment", [b"", b"# 12 34\n"])
def test_white_is_where_a_pnm_says(maximum: int, factor: int, comment: bytes) -> None:
    levels = np.arange(maximum + 1, dtype=np.uint8)
    size = b"%d 1\n%d\n" % (levels.size, maximum)
    for upright in (True, False):
        gray = decode_compressed_image(b"P5\n" + comment + size + levels.tobytes(), upright=upright)
        np.testing.assert_array_equal(gray[0, :, 0], levels * factor)
        color = decode_compressed_image(b"P6\n" + comment + size + np.repeat(levels, 3).tobytes(), upright=upright)
        np.testing.assert_array_equal(color, gray)
