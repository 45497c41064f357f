# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the student learns from the teacher's reliable matches and, if enabled, from pairs with exact flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdflow_training.adaptation.label_cache import LabelCache, Labeler, Labels
from mdflow_training.adaptation.mean_flow import SINGLE_FLOW, mean_flow
from mdflow_training.adaptation.panels import draw_panel
from mdflow_training.adaptation.refined_labels import refine_labels
from mdflow_training.adaptation.supervised_terms import NO_SUPERVISED_TERMS, SupervisedTerms
from mdflow_training.augmentation.augmentor import augmentation_of
from mdflow_training.engine.batches import Batch
from mdflow_training.engine.distributed import unwrap
from mdflow_training.engine.loop import Outcome
from mdflow_training.losses.census import Census
from mdflow_training.losses.distillation import sequence_loss
from mdflow_training.losses.match_selection import select_matches
from mdflow_training.networks.directions import stack_directions
from mdflow_training.networks.flow_network import FlowNetwork, upsample_flow
from mdflow_training.settings.adaptation import LabelSettings, SelectionSettings, Stage2Settings, VisibilityMethod


def matches_labeler(
    network: FlowNetwork,
    selection: SelectionSettings,
    occlusion: VisibilityMethod,
    census: Census,
    settings: LabelSettings = SINGLE_FLOW,
) -> Labeler:
    """Return a labeler that runs a frozen network and masks its flow to the reliable matches.

    Args:
        network: the frozen network.
        selection: which matches are reliable.
        occlusion: how to decide which pixels are visible.
        census: how to compare images.
        settings: how to compute the labels.
    """

    @torch.no_grad()
    def label(first: Tensor, second: Tensor) -> Labels:
        source = stack_directions(first, second)
        flow = mean_flow(network, first, second, settings)
        if settings.refine:
            flow = refine_labels(flow, source)
        matches = select_matches(source, flow, selection, occlusion, census)
        return Labels(flow, matches.reliable, matches.visible.mean().view(1))

    return label


class TeacherToStudentObjective:
    """L_sup of the student on the augmented pair, without photometric and smoothness terms.

    Args:
        settings: settings of the stage.
        labels: labels of the frozen teacher for the pairs before augmentation.
        seed: seed of the augmentation.
        census: how to compare images, for the panels.
        supervised: further terms of the loss, on pairs with exact flow.
    """

    def __init__(
        self,
        settings: Stage2Settings,
        labels: LabelCache,
        seed: int,
        census: Census,
        supervised: SupervisedTerms = NO_SUPERVISED_TERMS,
    ) -> None:
        self.settings, self.labels, self.seed, self.census = settings, labels, seed, census
        self.supervised = supervised

    def __call__(self, network: nn.Module, batch: Batch, progress: float) -> Outcome:
        """See `Objective`."""
        clean = stack_directions(batch.first, batch.second)
        labels = self.labels(batch)
        augmentation = augmentation_of(batch, self.settings.augmentation, self.seed)
        first, second = augmentation.images(clean).chunk(2)
        label, mask = augmentation.flow(labels.flow), augmentation.mask(labels.mask)
        predictions = network(first, second)
        loss = sequence_loss(predictions, label, mask, self.settings.sequence_decay, self.settings.error)
        metrics = {"visible": labels.visible.mean(), "reliable": labels.mask.mean()}
        loss = self.supervised(network, batch, loss, metrics)

        def draw() -> NDArray[np.uint8]:
            rule, occlusion = self.settings.selection, self.settings.occlusion
            matches = select_matches(clean, labels.flow, rule, occlusion, self.census)
            with torch.no_grad():
                student_flow = upsample_flow(unwrap(network)(batch.first, batch.second)[-1], clean.shape[-2:])
            return draw_panel(clean, labels.flow, student_flow, matches, rule.threshold)

        return Outcome(loss, metrics, draw)

    def observe(self, metrics: dict[str, float], progress: float) -> None:
        """See `Objective`; this objective has no state."""

    def state_dict(self) -> dict[str, Any]:
        """See `Objective`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Objective`."""
