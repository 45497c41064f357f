# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mdflow_ros.core.image_decoding import (
    SUPPORTED_ENCODINGS,
    CorruptImage,
    UnsupportedEncoding,
    decode_image,
)

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
    [(0, 4, 12, 48), (4, 0, 12, 48), (4, 4, 11, 48), (4, 4, 12, 47), (4, 4, 12, 0), (2**31, 4, 12, 48)],
)
def test_corrupt_images_are_refused(height: int, width: int, step: int, size: int) -> None:
    with pytest.raises(CorruptImage):
        decode_image("rgb8", height, width, step, False, bytes(size))


def test_odd_bayer_is_refused() -> None:
    with pytest.raises(CorruptImage, match="even"):
        decode_image("bayer_rggb8", 3, 4, 4, False, bytes(12))


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_every_listed_encoding_decodes(encoding: str) -> None:
    decoded = decode_image(encoding, 4, 4, 64, False, bytes(256))
    assert decoded.shape == (4, 4, 3) and decoded.dtype == np.uint8
