# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The noise of a camera, measured on its own recording."""

from __future__ import annotations

import cv2
import numpy as np

from mdflow_ros.core.confidence import camera_noise
from mdflow_ros.core.resizing import Size, resize_image
from mdflow_training.engine.batches import FramePairs, spread_evenly


def measure_noise(pairs: FramePairs, size: Size, samples: int = 16) -> float:
    """Return the standard deviation of a camera's noise, in intensity levels: the median over a recording's frames.

    Args:
        pairs: of the recording.
        size: to which the frames are resized before.
        samples: how many frames.
    """
    frames = (resize_image(pairs[index][0], size) for index in spread_evenly(len(pairs), samples))
    return float(np.median([camera_noise(np.float32(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))) for frame in frames]))
