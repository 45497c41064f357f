# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""One camera frame on its way from a recording to training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


class FrameSourceError(ValueError):
    """A source yields no frames to train on; the text names the fix."""


@dataclass(frozen=True)
class Frame:
    """A camera frame that is decoded only when somebody asks for its pixels.

    Attributes:
        stamp: acquisition time in ns, as in the message header.
        frame_id: the camera's coordinate frame; empty where the source has none.
        decode: gives the pixels, HxWx3 uint8 RGB. Raises ValueError where the data is corrupt or of an
            encoding that is not supported. Valid until the next frame is taken from the source.
    """

    stamp: int
    frame_id: str
    decode: Callable[[], NDArray[np.uint8]]


def decode_compressed_image(data: bytes | memoryview | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, or any other file format that OpenCV knows, to HxWx3 uint8 RGB.

    Gray and 16-bit images come out as 8-bit RGB too.

    Raises:
        ValueError: the data is empty, truncated at its head, or of an unknown format.
    """
    encoded = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise ValueError(f"{encoded.size} bytes of compressed image hold no picture that OpenCV can decode")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
