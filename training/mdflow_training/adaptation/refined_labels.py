# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Refine labels on their images, as the node refines its flow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mdflow_ros.core.refinement import FlowRefiner, Refinement
from mdflow_training.losses.census import luma

REFINEMENT: Refinement = ((0.75, 2), (1.0, 1))
"""Passes of the refinement: (size relative to the training size, iterations). Their gain: docs/experiments.md."""


def refine_labels(flow: Tensor, source: Tensor) -> Tensor:
    """Refine flow to sub-pixel agreement of the images, see `mdflow_ros.core.refinement`.

    Args:
        flow: ``(2N, 2, H, W)`` pixels, stacked directions.
        source: RGB ``(2N, 3, H, W)`` in [0, 1], stacked frames.

    Returns:
        Flow of the same shape, on the same device.
    """
    gray = luma(source)[:, 0].round().byte().cpu().numpy()
    others = np.roll(gray, len(gray) // 2, axis=0)
    flows = flow.permute(0, 2, 3, 1).float().cpu().numpy()
    refiner = FlowRefiner()
    refined = [refiner.refine(*pair, REFINEMENT) for pair in zip(gray, others, flows, strict=True)]
    return torch.from_numpy(np.stack(refined)).permute(0, 3, 1, 2).contiguous().to(flow)
