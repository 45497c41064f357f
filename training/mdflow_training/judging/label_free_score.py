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
"""Median census distance of random matches: the worst that a pixel can count."""

DISAGREEMENT_WEIGHT = 0.05
"""Weight of the disagreement in the error, which is measured in census distance."""


class LabelFreeScore(NamedTuple):
    """Means over pairs, both directions.

    The error is made such that no trivial flow wins. Census distance counts on all pixels: on visible ones alone, a
    network could hide pixels from the check, and zero flow is visible everywhere. Disagreement counts little: small
    flow disagrees little, right or wrong. Extrapolation stands for the pixels that no census can judge.
    `benchmarks/label_free_ranking.py` shows how often the error ranks methods as the ground truth does.
    """

    error: float
    """See `match_error`; lower is better."""
    census: float
    """Census distance to the match, in [0, 0.56]; a match outside the frame counts as a random one."""
    disagreement: float
    """Length of flow plus flow back, relative to the flow's length plus 1 px, at most 1, where the match is in view."""
    visible: float
    """Share of pixels that pass the forward-backward check."""
    extrapolation: float
    """See `mdflow_training.judging.extrapolation.extrapolation_error`; 0 for images that are too small for it."""

    def is_better_than(self, other: LabelFreeScore, min_gain: float = 0.0) -> bool:
        """Tell whether the error is lower, by this share of the other one's at least."""
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
    """Score a network; processes share the work and get the same score.

    Args:
        network: on the context's device; left in evaluation mode.
        pairs: held-out pairs.
        size: at which to predict.
        settings: how many of the pairs to use.
        context: which process this is.
        census: how to compare; scores with different ones cannot be compared.
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
        if (part := center_crop(size.height, size.width)) is not None:
            parts = (image[..., part[0], part[1]].contiguous() for image in (first, second))
            alone = network(*parts)[-1]
            extrapolation = extrapolation_error(flow, upsample_flow(alone, _size_of(part)), part)
        total += torch.stack((*match_measures(source, flow, census), extrapolation, flow.new_ones(()))).double().cpu()
    means = reduce_mean(total.to(context.device, torch.float32)).cpu()
    matched, disagreement, visible, extrapolated = (means[:4] / means[4]).tolist()
    error = match_error(matched, disagreement, extrapolated)
    return LabelFreeScore(error, matched, disagreement, visible, extrapolated)


def _size_of(part: tuple[slice, slice]) -> tuple[int, int]:
    return part[0].stop - part[0].start, part[1].stop - part[1].start


def match_error(census: float, disagreement: float, extrapolation: float) -> float:
    """Return the label-free error, in census distance; see `LabelFreeScore`.

    A pixel that leaves the view and whose flow is wrong counts as a random match twice.
    """
    return census + DISAGREEMENT_WEIGHT * disagreement + RANDOM_MATCH * extrapolation


def match_measures(source: Tensor, flow: Tensor, census: Census) -> tuple[Tensor, Tensor, Tensor]:
    """Return census distance, disagreement and visible share of flows, as `LabelFreeScore` has them.

    Args:
        source: RGB ``(2N, 3, H, W)`` in [0, 1], stacked frames.
        flow: ``(2N, 2, H, W)``, stacked, in pixels.
        census: how to compare.
    """
    reverse, distance = swap_directions(flow), census.distance_to_match(source, flow)
    in_view = warp(torch.ones_like(flow[:, :1]), flow) > 0.999
    judged = torch.where(in_view, distance.clamp(max=RANDOM_MATCH), RANDOM_MATCH)
    returned = warp(reverse, flow)
    length = (flow.norm(dim=1, keepdim=True) + returned.norm(dim=1, keepdim=True)) / 2
    disagreement = ((flow + returned).norm(dim=1, keepdim=True) / (length + 1)).clamp(max=1) * in_view
    inside = inside_window(source).expand_as(judged).bool()
    visible = forward_backward_visibility(flow, reverse)
    return judged[inside].mean(), disagreement[inside].mean(), visible.mean()
