# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Both flow directions of a batch of pairs, stacked on the batch axis.

MDFlow uses both directions everywhere (framework figure). A *stacked* tensor of ``2N`` samples holds first to second in
its first half and second to first in its second half, so that one line of code serves both.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stack_directions(first: Tensor, second: Tensor) -> Tensor:
    """Stack ``(N, ...)`` of the forward direction and ``(N, ...)`` of the backward one to ``(2N, ...)``."""
    return torch.cat((first, second))


def swap_directions(stacked: Tensor) -> Tensor:
    """Exchange the halves of ``(2N, ...)``: what belongs to the other frame of the same pair."""
    forward, backward = stacked.chunk(2)
    return torch.cat((backward, forward))


def mirror_flow(flow: Tensor) -> Tensor:
    """Return flow ``(N, 2, H, W)`` as the mirrored images have it: left and right swapped, u with the other sign."""
    return flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(1, 2, 1, 1)
