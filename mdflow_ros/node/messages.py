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

from mdflow_ros.core.frame_pairing import NANOSECONDS, Frame
from mdflow_ros.core.image_decoding import CorruptImage, UnsupportedEncoding, decode_image


def stamp_of(header: Header) -> int:
    """Return the stamp of a header in nanoseconds."""
    return int(header.stamp.sec * NANOSECONDS + header.stamp.nanosec)


def frame_from(message: Image | CompressedImage) -> Frame:
    """Decode an image message.

    Raises:
        UnsupportedEncoding: neither this package nor cv_bridge, if it is installed, knows the encoding.
        CorruptImage: the message does not hold the image that it promises.
    """
    if isinstance(message, CompressedImage):
        image, encoding = _decompress(message), message.format
    else:
        image, encoding = _decode(message), message.encoding
    return Frame(image, stamp_of(message.header), message.header.frame_id, encoding)


def _decode(message: Image) -> NDArray[np.uint8]:
    try:
        return decode_image(
            message.encoding, message.height, message.width, message.step, bool(message.is_bigendian), message.data
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
        raise CorruptImage(f"{data.size} bytes that are no '{message.format}' image")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def image_message(header: Header, field: NDArray[np.float32]) -> Image:
    """Return a 32FC1 or 32FC2 image of a float32 field ``(H, W)`` or ``(H, W, 2)``."""
    height, width = field.shape[:2]
    channels = 1 if field.ndim == 2 else field.shape[2]
    message = Image(header=header, height=height, width=width, encoding=f"32FC{channels}", step=width * channels * 4)
    # The setter takes an array.array as it is; anything else it checks value by value.
    data = array("B")
    data.frombytes(np.ascontiguousarray(field).view(np.uint8).data)
    message.data = data
    return message
