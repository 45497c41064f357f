# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""One camera frame of a recording."""

from __future__ import annotations

from dataclasses import dataclass

from mdflow_ros.core.image_decoding import Decoder
from mdflow_ros.core.intensity import IntensityStretch


class FrameSourceError(ValueError):
    """A source gives no frames; the text says why and what to do."""


@dataclass(frozen=True)
class RecordedFrame:
    """A camera frame that is decoded on demand.

    Attributes:
        stamp: acquisition time in ns, as in the message header.
        frame_id: the camera's coordinate frame; empty if the source has none.
        decode: returns the pixels, ``(H, W, 3)`` uint8 RGB. Raises ValueError if the data is corrupt or its encoding is
            not supported. Call it before the next frame is taken from the source.
        stretch: converts samples with more than 8 bits; two frames make a pair only if both were decoded at the same
            count of its ``changes``.
        bag: number of the bag that it comes from, among consecutive bags, from 0.
    """

    stamp: int
    frame_id: str
    decode: Decoder
    stretch: IntensityStretch
    bag: int = 0
