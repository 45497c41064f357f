# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The noise of a camera, measured on its own recording."""

from __future__ import annotations

import torch

from mdflow_ros.core.resizing import Size, resize_image
from mdflow_training.engine.batches import FramePairs, spread_evenly, to_tensor
from mdflow_training.losses.census import estimate_noise


def measure_noise(pairs: FramePairs, size: Size, samples: int = 16) -> float:
    """Estimate the camera's noise from frames all over a recording, at the size of training (see `estimate_noise`)."""
    frames = [pairs[index][0] for index in spread_evenly(len(pairs), samples)]
    images = torch.stack([torch.from_numpy(resize_image(frame, size)) for frame in frames])
    return estimate_noise(to_tensor(images, torch.device("cpu")))
