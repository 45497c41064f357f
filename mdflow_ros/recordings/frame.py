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
    """A camera frame that is decoded only when somebody asks for its pixels.

    Attributes:
        stamp: acquisition time in ns, as in the message header.
        frame_id: the camera's coordinate frame; empty where the source has none.
        decode: gives the pixels, ``(H, W, 3)`` uint8 RGB. Raises ValueError where the data is corrupt or of an
            encoding that is not supported. Valid until the next frame is taken from the source.
        stretch: converts samples of more than 8 bits; frames that were decoded under different counts of its
            ``changes`` make no pair.
        bag: which of the bags that continue one another it is of, from 0.
    """

    stamp: int
    frame_id: str
    decode: Decoder
    stretch: IntensityStretch
    bag: int = 0
