# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Judge a network on held-out pairs without labels."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mdflow_ros.core.flow_resizing import resize_image
from mdflow_training.adaptation_config import ValidationSettings, VisibilityMethod
from mdflow_training.census import Census, inside_window
from mdflow_training.directions import stack_directions, swap_directions
from mdflow_training.distributed import Context, reduce_mean
from mdflow_training.fastflownet import warp
from mdflow_training.flow_network import FlowNetwork, full_resolution
from mdflow_training.occlusion import VISIBILITY
from mdflow_training.pair_batches import FramePairs, to_tensor

RANDOM_MATCH = 0.56
"""Median census distance of random matches: the worst that a pixel can count."""


class LabelFreeScore(NamedTuple):
    """Means over pairs, both directions."""

    error: float
    """Census distance in [0, 0.56], where a pixel without a consistent match counts as a random match; lower is better.

    Neither part alone would do: no motion at all is perfectly consistent, and matching colours at random leaves little
    census distance. Pixels that are truly hidden cost every network the same."""
    census: float
    """Census distance on visible pixels."""
    visible: float
    """Share of pixels whose forward and backward flow agree."""

    def is_better_than(self, other: LabelFreeScore, minimum_gain: float = 0.0) -> bool:
        """Tell whether the error is lower, by this share of the other one's at least."""
        return self.error < other.error * (1 - minimum_gain)


@torch.no_grad()
def validate(
    network: FlowNetwork,
    pairs: FramePairs,
    size: tuple[int, int],
    settings: ValidationSettings,
    context: Context,
    census: Census,
    occlusion: VisibilityMethod = "forward_backward",
) -> LabelFreeScore:
    """Score a network; processes share the work and get the same score.

    Args:
        network: on the context's device; left in evaluation mode.
        pairs: held-out pairs.
        size: height and width at which to predict.
        settings: how many of the pairs to use.
        context: which process this is.
        census: how to compare; scores with different ones cannot be compared.
        occlusion: the consistency check.
    """
    network.eval()
    count = min(len(pairs), settings.maximum_pairs)
    chosen = [index * len(pairs) // count for index in range(count)]
    total = torch.zeros(4, dtype=torch.float64)
    for index in chosen[context.rank :: context.world_size]:
        first, second = (
            to_tensor(torch.from_numpy(resize_image(image, size[::-1]))[None], context.device) for image in pairs[index]
        )
        source = stack_directions(first, second)
        flow = full_resolution(network(first, second)[-1], source.shape[-2:])
        visible = VISIBILITY[occlusion](flow, swap_directions(flow))
        prepared = census.prepare(source)
        distance = census.distance(prepared, warp(swap_directions(prepared), flow, padding_mode="border"))
        inside = inside_window(source).expand_as(distance).bool()
        seen = inside & visible.bool()
        penalized = torch.where(seen, distance.clamp(max=RANDOM_MATCH), RANDOM_MATCH)[inside].mean()
        matched = (distance * seen).sum() / seen.sum().clamp(min=1)
        total += torch.stack((penalized, matched, visible.mean(), torch.ones_like(matched))).double().cpu()
    means = reduce_mean(total.to(context.device, torch.float32)).cpu()
    error, matched_mean, share = (means[:3] / means[3]).tolist()
    return LabelFreeScore(error, matched_mean, share)
