# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Both flow directions of a batch of pairs, stacked on the batch axis.

MDFlow uses both directions everywhere (framework figure). In a *stacked* tensor of ``2N`` samples, the first half is
the direction first to second, and the second half is second to first. One line of code then handles both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stack_directions(first: Tensor, second: Tensor) -> Tensor:
    """Stack tensors of the forward and the backward direction, ``(N, ...)`` each, to ``(2N, ...)``."""
    return torch.cat((first, second))


def swap_directions(stacked: Tensor) -> Tensor:
    """Swap the halves of ``(2N, ...)``: each sample then belongs to the other frame of its pair."""
    forward, backward = stacked.chunk(2)
    return torch.cat((backward, forward))


def mirror_flow(flow: Tensor) -> Tensor:
    """Return the flow ``(N, 2, H, W)`` of the images mirrored left to right: flipped, with u negated."""
    return flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(1, 2, 1, 1)
