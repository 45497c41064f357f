# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the teacher learns from the images alone, and from its own flow on the augmented pair."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdflow_training.adaptation.panels import draw_panel
from mdflow_training.adaptation.supervised_terms import NO_SUPERVISED_TERMS, SupervisedTerms
from mdflow_training.augmentation.augmentor import augmentation_of
from mdflow_training.engine.batches import Batch
from mdflow_training.engine.loop import Outcome
from mdflow_training.losses.census import Census
from mdflow_training.losses.distillation import sequence_loss
from mdflow_training.losses.match_selection import select_matches
from mdflow_training.losses.occlusion import OcclusionMask
from mdflow_training.losses.unsupervised import photometric_loss, smoothness_loss
from mdflow_training.networks.directions import stack_directions, swap_directions
from mdflow_training.networks.flow_network import upsample_flow
from mdflow_training.settings.adaptation import (
    DistillationSettings,
    SelectionSettings,
    TeacherStageSettings,
    UnsupervisedSettings,
)


def ramp(settings: DistillationSettings, progress: float) -> float:
    """Return the weight of the distillation term when the share ``progress`` of the stage, in [0, 1], is done."""
    if progress < settings.start:
        return 0.0
    if settings.ramp == 0:
        return settings.weight
    return settings.weight * min(1.0, (progress - settings.start) / settings.ramp)


def unsupervised_loss(
    source: Tensor, flows: list[Tensor], visible: Tensor, settings: UnsupervisedSettings, census: Census
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return L_ph + lambda_sm L_sm over both directions, and the two terms separately.

    Args:
        source: RGB ``(2N, 3, H, W)`` in [0, 1], stacked directions, not augmented.
        flows: the network's outputs, each ``(2N, 2, h, w)`` in full-resolution pixels, best last.
        visible: ``(2N, 1, H, W)``, 1 where visible.
        settings: the weights of the terms.
        census: how to compare images.

    Returns:
        The loss, a scalar, and the terms ``photometric`` and ``smoothness`` before weighting.
    """
    prepared = census.prepare(source)
    target = swap_directions(prepared)
    photometric = source.new_zeros(())
    for flow, weight in zip(reversed(flows), settings.level_weights, strict=False):
        flow = upsample_flow(flow, source.shape[-2:])
        photometric = photometric + weight * photometric_loss(prepared, target, flow, visible, census)
    smoothness = smoothness_loss(source, flows[-1], settings.smoothness_order, settings.edge_sensitivity)
    return photometric + settings.smoothness * smoothness, {"photometric": photometric, "smoothness": smoothness}


class DistillationLabel(NamedTuple):
    """Label for the prediction on the augmented pair; not yet augmented itself. Directions are stacked."""

    flow: Tensor
    """``(2N, 2, H, W)`` pixels."""
    mask: Tensor
    """``(2N, 1, H, W)``, 1 where the flow may be learned."""
    from_student: bool = False
    """Whether the student made the label; otherwise the teacher did."""


class UnsupervisedObjective:
    """L_ph + lambda_sm L_sm on the clean pair plus lambda_sup L_sup on the augmented pair.

    The label is the teacher's own flow on the clean pair, masked by its occlusion mask; neither has a gradient.

    Args:
        settings: settings of the stage.
        selection: which matches the panels show as reliable; not used for training.
        seed: seed of the augmentation.
        census: how to compare images.
        supervised: further terms of the loss, on pairs with exact flow.
    """

    def __init__(
        self,
        settings: TeacherStageSettings,
        selection: SelectionSettings,
        seed: int,
        census: Census,
        supervised: SupervisedTerms = NO_SUPERVISED_TERMS,
    ) -> None:
        self.settings, self.selection, self.seed, self.census = settings, selection, seed, census
        self.supervised = supervised
        self.occlusion = OcclusionMask(settings.occlusion)

    def label(self, batch: Batch, flow: Tensor, visible: Tensor) -> DistillationLabel:
        """Return the labels of the clean pairs.

        Args:
            batch: the clean pairs.
            flow: the teacher's flow, ``(2N, 2, H, W)`` pixels, without gradient.
            visible: the teacher's occlusion mask, ``(2N, 1, H, W)``, 1 where visible.
        """
        return DistillationLabel(flow, visible)

    def __call__(self, network: nn.Module, batch: Batch, progress: float) -> Outcome:
        """See `Objective`."""
        source = stack_directions(batch.first, batch.second)
        weight = ramp(self.settings.distillation, progress)
        terms = self.settings.unsupervised
        with torch.no_grad() if terms.weight == 0 else contextlib.nullcontext():
            flows = network(batch.first, batch.second)
        flow = upsample_flow(flows[-1], source.shape[-2:]).detach()
        visible, share = self.occlusion(flow)
        loss, metrics = unsupervised_loss(source, flows, visible, terms, self.census)
        loss = terms.weight * loss
        label = self.label(batch, flow, visible)
        if weight > 0:
            distillation = self._distillation(network, batch, label)
            metrics["distillation"] = distillation
            loss = loss + weight * distillation
        loss = self.supervised(network, batch, loss, metrics)
        metrics["visible"] = visible.mean()
        metrics["checked_visible"] = share

        def draw() -> NDArray[np.uint8]:
            matches = select_matches(source, flow, self.selection, self.settings.occlusion.method, self.census)
            student_flow = label.flow if label.from_student else None
            return draw_panel(source, flow, student_flow, matches, self.selection.threshold)

        return Outcome(loss, metrics, draw, ramped_weight=weight)

    def _distillation(self, network: nn.Module, batch: Batch, label: DistillationLabel) -> Tensor:
        augmentation = augmentation_of(batch, self.settings.augmentation, self.seed)
        source = augmentation.images(stack_directions(batch.first, batch.second))
        flow, mask = augmentation.flow(label.flow), augmentation.mask(label.mask)
        settings = self.settings.distillation
        return sequence_loss(network(*source.chunk(2)), flow, mask, settings.sequence_decay, settings.error)

    def observe(self, metrics: dict[str, float], progress: float) -> None:
        """See `Objective`."""
        self.occlusion.observe(metrics["checked_visible"], progress)

    def state_dict(self) -> dict[str, Any]:
        """See `Objective`."""
        return self.occlusion.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Objective`."""
        self.occlusion.load_state_dict(state)
