# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs with exactly known motion, made from held-out frames, to judge models that learned without labels.

The motion resembles the robot's: the mean flow of the compared models on the same pair, smoothed and scaled. The mean
favors neither model, and the frame is warped by exactly this motion. The model that recovers it more accurately is
therefore better at this kind of motion in these images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from mdflow_training.augmentation.warped_pair import CameraNoise, make_warped_pair
from mdflow_training.engine.batches import to_tensor
from mdflow_training.engine.seeds import generator_for
from mdflow_training.flow_files import Flow, Image
from mdflow_training.settings.adaptation import WarpedPairsSettings

SETTINGS = WarpedPairsSettings()
SMOOTHING = 2.0
"""Standard deviation, in pixels, of the blur applied to the motion."""


class KnownMotion(NamedTuple):
    """A pair and its flow."""

    first: Image
    second: Image
    flow: Flow
    """``(h, w, 2)`` pixels; NaN where the pixel was not seen in the recorded frame."""


def known_motion(second: Image, flows: Sequence[Flow], noise: float, number: int) -> KnownMotion:
    """Move the second image of a pair by a motion like that of the pair.

    Args:
        second: the newer image of the pair, ``(H, W, 3)`` uint8 RGB.
        flows: flows from the older image to ``second``, ``(H, W, 2)`` pixels, one of each compared model.
        noise: standard deviation of the camera's noise, in intensity levels (0 to 255).
        number: number of the pair; decides the random numbers.
    """
    motion = cv2.GaussianBlur(np.mean(flows, axis=0), (0, 0), SMOOTHING)
    frame = to_tensor(torch.from_numpy(second)[None], torch.device("cpu"))[0]
    flow = torch.from_numpy(motion).permute(2, 0, 1)
    pair = make_warped_pair(frame, flow, SETTINGS, CameraNoise(noise / 255), generator_for("known motion", number))
    images = [
        np.ascontiguousarray((255 * image[0]).round().to(torch.uint8).permute(1, 2, 0).numpy())
        for image in (pair.first, pair.second)
    ]
    known = torch.where(pair.mask > 0, pair.flow, torch.nan)[0].permute(1, 2, 0)
    return KnownMotion(images[0], images[1], np.ascontiguousarray(known.numpy()))
