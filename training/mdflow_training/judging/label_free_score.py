# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Judge a network on held-out pairs without labels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mdflow_ros.core.resizing import Size, resize_image
from mdflow_training.engine.batches import FramePairs, spread_evenly, to_tensor
from mdflow_training.engine.distributed import ProcessContext, reduce_mean
from mdflow_training.judging.extrapolation import center_crop, extrapolation_error
from mdflow_training.losses.census import Census, inside_window
from mdflow_training.losses.occlusion import forward_backward_visibility
from mdflow_training.networks.directions import stack_directions, swap_directions
from mdflow_training.networks.fastflownet import warp
from mdflow_training.networks.flow_network import FlowNetwork, upsample_flow
from mdflow_training.settings.adaptation import ValidationSettings

RANDOM_MATCH = 0.56
"""Median census distance of random matches; the distance of a pixel is limited to this value."""

DISAGREEMENT_WEIGHT = 0.05
"""Weight of the disagreement in the match error (which has the unit of a census distance)."""


class LabelFreeScore(NamedTuple):
    """The label-free error of a network and its parts: means over pairs and both directions.

    The error is designed so that no trivial flow wins. The census distance is taken over all pixels: if only visible
    pixels counted, a network could hide pixels by failing the forward-backward check. Zero flow, in turn, passes this
    check everywhere. The disagreement has a small weight, because small flow disagrees little, whether right or wrong.
    The extrapolation covers the pixels that the census cannot judge. `benchmarks/label_free_ranking.py` measures how
    often the error ranks methods as ground truth does.
    """

    error: float
    """See `match_error`; lower is better."""
    census: float
    """Mean census distance to the match, in [0, 0.56]; a match outside the frame counts as a random one."""
    disagreement: float
    """Mean length of forward plus backward flow, relative to the flow's length plus 1 px, at most 1. Counts as 0 where
    the match is outside the frame."""
    visible: float
    """Share of pixels that pass the forward-backward check, in [0, 1]."""
    extrapolation: float
    """See `mdflow_training.judging.extrapolation.extrapolation_error`; 0 for images that are too small for it."""

    def is_better_than(self, other: LabelFreeScore, min_gain: float = 0.0) -> bool:
        """Return whether the error is lower by more than the share ``min_gain`` of the other error."""
        return self.error < other.error * (1 - min_gain)


@torch.no_grad()
def validate(
    network: FlowNetwork,
    pairs: FramePairs,
    size: Size,
    settings: ValidationSettings,
    context: ProcessContext,
    census: Census,
) -> LabelFreeScore:
    """Score a network; processes share the work and return the same score.

    Args:
        network: a network on the context's device; left in evaluation mode.
        pairs: held-out pairs.
        size: image size at which to predict.
        settings: the number of pairs to use.
        context: this process.
        census: how to compare images; scores from different censuses are not comparable.
    """
    network.eval()
    chosen = spread_evenly(len(pairs), settings.maximum_pairs)
    total = torch.zeros(5, dtype=torch.float64)
    for index in chosen[context.rank :: context.world_size]:
        first, second = (
            to_tensor(torch.from_numpy(resize_image(image, size))[None], context.device) for image in pairs[index]
        )
        source = stack_directions(first, second)
        flow = upsample_flow(network(first, second)[-1], source.shape[-2:])
        extrapolation = flow.new_zeros(())
        if (crop := center_crop(size.height, size.width)) is not None:
            first_crop, second_crop = (image[..., crop[0], crop[1]].contiguous() for image in (first, second))
            cropped = upsample_flow(network(first_crop, second_crop)[-1], first_crop.shape[-2:])
            extrapolation = extrapolation_error(flow, cropped, crop)
        total += torch.stack((*match_measures(source, flow, census), extrapolation, flow.new_ones(()))).double().cpu()
    means = reduce_mean(total.to(context.device, torch.float32)).cpu()
    matched, disagreement, visible, extrapolated = (means[:4] / means[4]).tolist()
    error = match_error(matched, disagreement, extrapolated)
    return LabelFreeScore(error, matched, disagreement, visible, extrapolated)


def match_error(census: float, disagreement: float, extrapolation: float) -> float:
    """Return the label-free error, in units of census distance; see `LabelFreeScore`.

    A pixel that leaves the view with wrong flow counts as a random match twice: in the census and in the extrapolation.
    """
    return census + DISAGREEMENT_WEIGHT * disagreement + RANDOM_MATCH * extrapolation


def match_measures(source: Tensor, flow: Tensor, census: Census) -> tuple[Tensor, Tensor, Tensor]:
    """Return census distance, disagreement and visible share of flows, as defined in `LabelFreeScore`; three scalars.

    Args:
        source: RGB ``(2N, 3, H, W)`` in [0, 1], stacked frames.
        flow: ``(2N, 2, H, W)``, stacked directions, in pixels.
        census: how to compare images.
    """
    reverse, distance = swap_directions(flow), census.distance_to_match(source, flow)
    in_view = warp(torch.ones_like(flow[:, :1]), flow) > 0.999
    limited = torch.where(in_view, distance.clamp(max=RANDOM_MATCH), RANDOM_MATCH)
    returned = warp(reverse, flow)
    length = (flow.norm(dim=1, keepdim=True) + returned.norm(dim=1, keepdim=True)) / 2
    disagreement = ((flow + returned).norm(dim=1, keepdim=True) / (length + 1)).clamp(max=1) * in_view
    inside = inside_window(source).expand_as(limited).bool()
    visible = forward_backward_visibility(flow, reverse)
    return limited[inside].mean(), disagreement[inside].mean(), visible.mean()
