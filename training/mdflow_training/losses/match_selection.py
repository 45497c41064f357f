# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Reliable matches: the flow vectors of one network that may be used as labels for another.

MDFlow's rule is M = [census distance <= tau] and visible (framework figure, "Reliable Matching Selection").
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mdflow_training.losses.census import OUTSIDE, Census
from mdflow_training.losses.occlusion import VISIBILITY
from mdflow_training.networks.directions import swap_directions
from mdflow_training.settings.adaptation import SelectionSettings


class SelectedMatches(NamedTuple):
    """A flow judged by the images; each field is ``(2N, 1, H, W)``, stacked directions."""

    distance: Tensor
    """Census distance to the match, in [0, 1]."""
    visible: Tensor
    """1 where visible in the other frame."""
    reliable: Tensor
    """1 where the flow may serve as a label."""


def by_threshold(distance: Tensor, visible: Tensor, settings: SelectionSettings) -> Tensor:
    """Keep visible pixels with a distance of at most ``settings.threshold`` (tau)."""
    return (distance <= settings.threshold).to(visible.dtype) * visible


def by_quantile(distance: Tensor, visible: Tensor, settings: SelectionSettings) -> Tensor:
    """Keep the share ``settings.quantile`` of each image's visible pixels with the smallest distances.

    Unlike a fixed threshold, it adapts to noise, which raises all distances.
    """
    eligible = visible.bool() & (distance < OUTSIDE)
    kept = torch.zeros_like(visible)
    for sample in range(len(distance)):
        distances = distance[sample][eligible[sample]]
        if len(distances):
            worst = distances.sort().values[max(round(settings.quantile * len(distances)) - 1, 0)]
            kept[sample] = (distance[sample] <= worst) & eligible[sample]
    return kept


def by_census_alone(distance: Tensor, visible: Tensor, settings: SelectionSettings) -> Tensor:
    """Keep pixels with a distance of at most ``settings.threshold``, visible or not (ablation)."""
    return (distance <= settings.threshold).to(visible.dtype)


def by_visibility_alone(distance: Tensor, visible: Tensor, settings: SelectionSettings) -> Tensor:
    """Keep every visible pixel (ablation)."""
    return visible


def all_pixels(distance: Tensor, visible: Tensor, settings: SelectionSettings) -> Tensor:
    """Keep every pixel (ablation)."""
    return torch.ones_like(visible)


SELECTIONS = {
    "threshold": by_threshold,
    "quantile": by_quantile,
    "census": by_census_alone,
    "visible": by_visibility_alone,
    "all": all_pixels,
}


@torch.no_grad()
def select_matches(
    source: Tensor, flow: Tensor, settings: SelectionSettings, occlusion: str, census: Census
) -> SelectedMatches:
    """Judge the flow of both directions by the clean images.

    Args:
        source: RGB ``(2N, 3, H, W)`` in [0, 1], stacked: the frame where each flow starts.
        flow: ``(2N, 2, H, W)``, stacked, full-resolution pixels.
        settings: the rule, one of `SELECTIONS`, and its parameters.
        occlusion: one of `mdflow_training.losses.occlusion.VISIBILITY`.
        census: how to compare images.
    """
    distance = census.distance_to_match(source, flow)
    visible = VISIBILITY[occlusion](flow, swap_directions(flow))
    return SelectedMatches(distance, visible, SELECTIONS[settings.rule](distance, visible, settings))


def match_reliability(matches: SelectedMatches, threshold: float) -> Tensor:
    """Return exp(-distance / tau) where visible, else 0: ``(2N, 1, H, W)`` in [0, 1]."""
    return torch.exp(-matches.distance / threshold) * matches.visible
