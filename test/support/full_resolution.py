# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert the network's finest output to flow at the size of the images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mdflow_ros.model.architecture import FLOW_SCALE


def to_full_resolution_pixels(flow: Tensor) -> Tensor:
    """Upsample the finest output four times and convert it to full-resolution pixels."""
    return F.interpolate(flow, scale_factor=4, mode="bilinear", align_corners=False) * FLOW_SCALE
