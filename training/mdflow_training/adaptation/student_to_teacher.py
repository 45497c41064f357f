# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 3: the teacher learns from the student and, as in stage 1, from the images (multi-target learning)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mdflow_training.adaptation.label_cache import Labels
from mdflow_training.adaptation.supervised_terms import NO_SUPERVISED_TERMS, SupervisedTerms
from mdflow_training.adaptation.unsupervised import DistillationLabel, UnsupervisedObjective
from mdflow_training.engine.batches import Batch
from mdflow_training.losses.census import Census
from mdflow_training.settings.adaptation import SelectionSettings, Stage3Settings


class StudentToTeacherObjective(UnsupervisedObjective):
    """Stage 1's terms, with the student's flow as label; the settings choose its mask.

    Args:
        settings: settings of the stage.
        selection: the rule by which the ``student_reliable`` masks were made; also used for the panels.
        labels: labels of the frozen student for the pairs before augmentation.
        seed: seed of the augmentation.
        census: how to compare images.
        supervised: further terms of the loss, on pairs with exact flow.
    """

    def __init__(
        self,
        settings: Stage3Settings,
        selection: SelectionSettings,
        labels: Callable[[Batch], Labels],
        seed: int,
        census: Census,
        supervised: SupervisedTerms = NO_SUPERVISED_TERMS,
    ) -> None:
        super().__init__(settings, selection, seed, census, supervised)
        self.label_mask, self.student_labels = settings.label_mask, labels

    def label(self, batch: Batch, flow: Tensor, visible: Tensor) -> DistillationLabel:
        """See `UnsupervisedObjective.label`."""
        student = self.student_labels(batch)
        masks = {"teacher_visible": visible, "student_reliable": student.mask, "all": torch.ones_like(visible)}
        return DistillationLabel(student.flow, masks[self.label_mask], from_student=True)
