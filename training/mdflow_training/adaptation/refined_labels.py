# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that are refined on their images, as the node refines its flow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mdflow_ros.core.refinement import refine_flow
from mdflow_training.losses.census import luma
from mdflow_training.settings.adaptation import LabelSettings

MAX_NOISE = 1.75
"""Camera noise, in gray levels, up to which refinement makes labels better; see docs/experiments.md."""

ROUNDS = 1
"""Rounds of refinement; three make labels worse where there is noise."""


def are_refined(settings: LabelSettings, noise: float) -> bool:
    """Return whether labels are to be refined on images with this noise, a standard deviation in gray levels."""
    return settings.refine == "always" or (settings.refine == "auto" and noise <= MAX_NOISE)


def refine_labels(flow: Tensor, source: Tensor) -> Tensor:
    """Return flow moved towards where the images agree, see `mdflow_ros.core.refinement`.

    Args:
        flow: ``(2N, 2, H, W)`` pixels, stacked directions.
        source: RGB ``(2N, 3, H, W)`` in [0, 1], stacked frames.

    Returns:
        Flow of the same shape, on the same device.
    """
    gray = luma(source)[:, 0].round().byte().cpu().numpy()
    others = np.roll(gray, len(gray) // 2, axis=0)
    flows = flow.permute(0, 2, 3, 1).float().cpu().numpy()
    refined = [
        refine_flow(first, second, field, ROUNDS) for first, second, field in zip(gray, others, flows, strict=True)
    ]
    return torch.from_numpy(np.stack(refined)).permute(0, 3, 1, 2).contiguous().to(flow)
