# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert sensor_msgs images to arrays and back."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mdflow_ros.core.frame_pairing import CameraFrame
from mdflow_ros.core.image_decoding import (
    CorruptImage,
    UnsupportedEncoding,
    check_pixels,
    decode_compressed_image,
    decode_image,
)
from mdflow_ros.core.intensity import IntensityStretch
from mdflow_ros.core.stamps import NANOSECONDS, nanoseconds

FORWARD, BACKWARD = "forward", "backward"
"""Direction of the published flow, in ``source`` of previous_stamp: from the older or from the newer image."""


def stamp_of(header: Header) -> int:
    """Return the stamp of a header in nanoseconds."""
    return nanoseconds(header.stamp)


def to_frame(message: Image | CompressedImage, max_pixels: int, stretch: IntensityStretch) -> CameraFrame:
    """Decode an image message.

    Args:
        message: the image.
        max_pixels: larger images are refused before they are decoded.
        stretch: converts samples with more than 8 bits.

    Raises:
        UnsupportedEncoding: neither this package nor cv_bridge, if installed, knows the encoding.
        CorruptImage: the stamp is not a time, or the message does not hold the image that it describes, or one with
            more than ``max_pixels``.
    """
    stamp = message.header.stamp
    if stamp.sec < 0 or stamp.nanosec >= NANOSECONDS:
        raise CorruptImage(f"header.stamp is not a time: sec {stamp.sec}, nanosec {stamp.nanosec}")
    if isinstance(message, CompressedImage):
        image, encoding = decode_compressed_image(message.data, message.format, stretch, max_pixels), message.format
    else:
        image, encoding = _decode(message, max_pixels, stretch), message.encoding
    return CameraFrame(image, stamp_of(message.header), message.header.frame_id, encoding, stretch.changes)


def _decode(message: Image, max_pixels: int, stretch: IntensityStretch) -> NDArray[np.uint8]:
    height, width, big = message.height, message.width, bool(message.is_bigendian)
    try:
        return decode_image(message.encoding, height, width, message.step, big, message.data, stretch, max_pixels)
    except UnsupportedEncoding as unsupported:
        try:
            from cv_bridge import CvBridge
        except ImportError:
            raise unsupported from None
        check_pixels(width, height, max_pixels)
        try:
            decoded: NDArray[np.uint8] = CvBridge().imgmsg_to_cv2(message, "rgb8")
            return decoded
        except Exception as error:  # cv_bridge raises its own and OpenCV's errors alike
            raise UnsupportedEncoding(f"{unsupported}; cv_bridge could not convert it either: {error}") from error


def read_field(message: Image, channels: int) -> NDArray[np.float32]:
    """Return the field ``(H, W)`` or ``(H, W, channels)`` of a 32FC1 or 32FC2 message.

    Raises:
        ValueError: the message holds something else.
    """
    encoding, bytes_per_row = f"32FC{channels}", message.width * channels * 4
    wrong = message.encoding != encoding or message.is_bigendian or message.step != bytes_per_row
    if wrong or len(message.data) != message.step * message.height or not len(message.data):
        raise ValueError(
            f"expected a little-endian {encoding} image without padding, not {message.encoding} of {message.width}x"
            f"{message.height} pixels with {len(message.data)} bytes: remap the topic to the flow node's"
        )
    shape = (message.height, message.width) if channels == 1 else (message.height, message.width, channels)
    return np.frombuffer(message.data, np.float32).reshape(shape)


def image_message(header: Header, field: NDArray[np.float32] | NDArray[np.uint8]) -> Image:
    """Return an image message: 32FC1 or 32FC2 of float32, mono8 or rgb8 of uint8.

    Args:
        header: of the message.
        field: ``(H, W)`` or ``(H, W, channels)``.
    """
    height, width = field.shape[:2]
    channels = 1 if field.ndim == 2 else field.shape[2]
    encoding = {1: "mono8", 3: "rgb8"}[channels] if field.dtype == np.uint8 else f"32FC{channels}"
    step = width * channels * field.itemsize
    message = Image(header=header, height=height, width=width, encoding=encoding, step=step)
    # The setter takes an array.array as it is, but checks anything else value by value.
    data = array("B")
    data.frombytes(np.ascontiguousarray(field).view(np.uint8).data)
    message.data = data
    return message
