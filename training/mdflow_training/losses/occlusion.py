# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide which pixels of a frame are visible in the other frame. Masks are 1 where visible and have no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mdflow_ros.core.confidence import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from mdflow_training.networks.directions import swap_directions
from mdflow_training.networks.fastflownet import target_coordinates, warp
from mdflow_training.settings.adaptation import OcclusionSettings


@torch.no_grad()
def forward_backward_visibility(flow: Tensor, reverse: Tensor) -> Tensor:
    """Check that following ``flow`` and then ``reverse`` leads back (UnFlow, section 3.2; MDFlow's repository).

    Args:
        flow: ``(N, 2, H, W)`` in full-resolution pixels; the tolerances are tuned for these.
        reverse: ``(N, 2, H, W)``, the flow of the opposite direction, in the same pixels.

    Returns:
        ``(N, 1, H, W)``, 1 where visible. Pixels that leave the frame count as occluded, unless they hardly move.
    """
    returned = warp(reverse, flow)
    mismatch = (flow + returned).square().sum(dim=1, keepdim=True)
    magnitude = flow.square().sum(dim=1, keepdim=True) + returned.square().sum(dim=1, keepdim=True)
    return (mismatch < RELATIVE_TOLERANCE * magnitude + ABSOLUTE_TOLERANCE).to(flow.dtype)


def everything_visible(flow: Tensor, reverse: Tensor) -> Tensor:
    """Return all ones, ``(N, 1, H, W)``: every pixel counts as visible."""
    return torch.ones_like(flow[:, :1])


def leads_inside(flow: Tensor) -> Tensor:
    """Return whether the flow of each pixel stays within the image: ``(N, 1, H, W)`` bool from ``(N, 2, H, W)``."""
    height, width = flow.shape[-2:]
    x, y = target_coordinates(flow)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None]


VISIBILITY = {
    "forward_backward": forward_backward_visibility,
    "none": everything_visible,
}


class OcclusionMask:
    """The occlusion mask of a stage; it switches on once the flow is plausible.

    An untrained network's flow is consistent nowhere. If the mask were active from the first step of training from
    scratch, it would hide nearly every pixel and nothing would be learned. Every pixel therefore counts as visible
    until the share ``settings.start`` of the stage is done and the running mean of the visible share has reached
    ``settings.minimum_visible``. With ``start: 0`` the mask is on from the first step; use this for a trained network.
    """

    DECAY = 0.9

    def __init__(self, settings: OcclusionSettings) -> None:
        self.settings = settings
        self.active = settings.start == 0
        self.average: float | None = None

    @torch.no_grad()
    def __call__(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mask to use, and the share of pixels that pass the check.

        Args:
            flow: ``(2N, 2, H, W)``, stacked directions, full-resolution pixels.

        Returns:
            The mask ``(2N, 1, H, W)``, all ones while the check is switched off, and the share, a scalar.
        """
        flow = flow.detach()
        checked = VISIBILITY[self.settings.method](flow, swap_directions(flow))
        return (checked if self.active else torch.ones_like(checked)), checked.mean()

    def observe(self, visible_share: float, progress: float) -> None:
        """Record a step's visible share (over all processes) and switch the mask on once its conditions hold.

        Args:
            visible_share: in [0, 1], as returned by `__call__`.
            progress: share of the stage's steps that are done, in [0, 1].
        """
        previous = visible_share if self.average is None else self.average
        self.average = self.DECAY * previous + (1 - self.DECAY) * visible_share
        if progress >= self.settings.start and self.average >= self.settings.minimum_visible:
            self.active = True

    def state_dict(self) -> dict[str, Any]:
        """Return the state for an exact resume."""
        return {"active": self.active, "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.active, self.average = state["active"], state["average"]
