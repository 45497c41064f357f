# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a camera's noise on its recording."""

from __future__ import annotations

import cv2
import numpy as np

from mdflow_ros.core.confidence import camera_noise
from mdflow_ros.core.resizing import Size, resize_image
from mdflow_training.engine.batches import FramePairs, spread_evenly


def measure_noise(pairs: FramePairs, size: Size, samples: int = 16) -> float:
    """Return the standard deviation of a camera's noise in intensity levels (0 to 255): the median over several frames.

    Args:
        pairs: pairs of the recording.
        size: the frames are resized to this size first.
        samples: number of frames to measure.
    """
    frames = (resize_image(pairs[index][0], size) for index in spread_evenly(len(pairs), samples))
    return float(np.median([camera_noise(np.float32(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))) for frame in frames]))
