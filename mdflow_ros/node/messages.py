# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs images to arrays and back."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mdflow_ros.core.frame_pairing import NANOSECONDS, CameraFrame
from mdflow_ros.core.image_decoding import CorruptImage, UnsupportedEncoding, decode_image
from mdflow_ros.core.printable import printable

MAX_NAME_LENGTH = 60
"""Characters of an encoding's name that reach logs and diagnostics."""


def stamp_of(header: Header) -> int:
    """Return the stamp of a header in nanoseconds."""
    return int(header.stamp.sec * NANOSECONDS + header.stamp.nanosec)


def to_frame(message: Image | CompressedImage, max_pixels: int) -> CameraFrame:
    """Decode an image message.

    Raises:
        UnsupportedEncoding: neither this package nor cv_bridge, if it is installed, knows the encoding.
        CorruptImage: the message does not hold the image that it describes, or one of more than ``max_pixels``.
    """
    stamp = message.header.stamp
    if stamp.sec < 0 or stamp.nanosec >= NANOSECONDS:
        raise CorruptImage(f"header.stamp is not a time: sec {stamp.sec}, nanosec {stamp.nanosec}")
    if isinstance(message, CompressedImage):
        image, encoding = _decompress(message), message.format
    else:
        if message.width * message.height > max_pixels:
            raise CorruptImage(
                f"the image has {message.width}x{message.height} pixels, the parameter max_megapixels allows "
                f"{max_pixels / 1e6:g} million"
            )
        image, encoding = _decode(message), message.encoding
    return CameraFrame(image, stamp_of(message.header), message.header.frame_id, encoding)


def _decode(message: Image) -> NDArray[np.uint8]:
    encoding = printable(message.encoding, MAX_NAME_LENGTH)
    try:
        return decode_image(
            encoding, message.height, message.width, message.step, bool(message.is_bigendian), message.data
        )
    except UnsupportedEncoding as unsupported:
        try:
            from cv_bridge import CvBridge
        except ImportError:
            raise unsupported from None
        try:
            decoded: NDArray[np.uint8] = CvBridge().imgmsg_to_cv2(message, "rgb8")
            return decoded
        except Exception as error:  # cv_bridge raises its own and OpenCV's errors alike
            raise UnsupportedEncoding(f"{unsupported}; cv_bridge could not convert it either: {error}") from error


def _decompress(message: CompressedImage) -> NDArray[np.uint8]:
    data = np.frombuffer(message.data, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        name = printable(message.format, MAX_NAME_LENGTH)
        raise CorruptImage(f"cannot decode the {data.size} bytes of a '{name}' image")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def image_message(header: Header, field: NDArray[np.float32]) -> Image:
    """Return a 32FC1 or 32FC2 image of a float32 field ``(H, W)`` or ``(H, W, 2)``."""
    height, width = field.shape[:2]
    channels = 1 if field.ndim == 2 else field.shape[2]
    message = Image(header=header, height=height, width=width, encoding=f"32FC{channels}", step=width * channels * 4)
    # The setter takes an array.array as it is; it checks anything else value by value.
    data = array("B")
    data.frombytes(np.ascontiguousarray(field).view(np.uint8).data)
    message.data = data
    return message
