# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Labels by data distillation: the mean of a network's flows on the scaled and mirrored pair.

Source: Radosavovic et al., Data Distillation, CVPR 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow_training.networks.directions import mirror_flow
from mdflow_training.networks.flow_network import FlowNetwork, upsample_flow
from mdflow_training.networks.sides import nearest_side
from mdflow_training.settings.adaptation import LabelSettings

SINGLE_FLOW = LabelSettings()


def mean_flow(network: FlowNetwork, first: Tensor, second: Tensor, settings: LabelSettings) -> Tensor:
    """Return the mean flow of both directions, stacked, ``(2N, 2, H, W)`` pixels.

    Args:
        network: a frozen network.
        first: RGB ``(N, 3, H, W)`` in [0, 1].
        second: the newer images, same shape.
        settings: which flows to average.
    """
    flows = []
    for scale in settings.scales:
        flow = _scaled_flow(network, first, second, scale)
        flows.append(flow)
        if settings.mirrored:
            flows.append(mirror_flow(_scaled_flow(network, first.flip(-1), second.flip(-1), scale)))
    return torch.stack(flows).mean(dim=0)


def _scaled_flow(network: FlowNetwork, first: Tensor, second: Tensor, scale: float) -> Tensor:
    height, width = first.shape[-2:]
    size = [nearest_side(scale * side) for side in (height, width)]
    if size == [height, width]:
        return upsample_flow(network(first, second)[-1], (height, width))
    images = (F.interpolate(image, size, mode="bilinear", align_corners=False) for image in (first, second))
    to_original = first.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
    return upsample_flow(network(*images)[-1], (height, width)) * to_original
