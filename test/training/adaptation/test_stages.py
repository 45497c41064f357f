# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Which network learns from which labels in each stage, as in MDFlow's framework figure."""

from pathlib import Path
from typing import Any

import pytest
import torch
from textured_pairs import AffinePair
from torch import Tensor

from mdflow_training.adaptation import teacher_to_student as stage_teacher_to_student
from mdflow_training.adaptation import unsupervised as stage_unsupervised
from mdflow_training.adaptation.label_cache import LabelCache
from mdflow_training.adaptation.student_to_teacher import StudentToTeacherObjective
from mdflow_training.adaptation.teacher_to_student import TeacherToStudentObjective, matches_labeler
from mdflow_training.adaptation.unsupervised import UnsupervisedObjective, ramp
from mdflow_training.augmentation.augmentor import augmentation_of
from mdflow_training.engine.batches import Batch
from mdflow_training.losses.census import Census, luma
from mdflow_training.losses.match_selection import select_matches
from mdflow_training.networks.directions import stack_directions
from mdflow_training.networks.flow_network import FastFlowNetwork, FlowNetwork, freeze
from mdflow_training.networks.students import build_student
from mdflow_training.settings.adaptation import (
    AugmentationSettings,
    DistillationSettings,
    OcclusionSettings,
    SelectionSettings,
    Stage1Settings,
    Stage2Settings,
    Stage3Settings,
    StudentSettings,
    UnsupervisedSettings,
)

SIZE = (128, 128)
CENSUS = Census()


@pytest.fixture
def batch() -> Batch:
    pair = AffinePair(SIZE, (2.0, 1.0))
    return Batch([0], [0], pair.first, pair.second)


@pytest.fixture
def teacher() -> FastFlowNetwork:
    torch.manual_seed(1)
    return FastFlowNetwork().train()


@pytest.fixture
def student() -> FlowNetwork:
    torch.manual_seed(2)
    return build_student(StudentSettings(name="raft_small", updates=2), {}).train()


def has_gradient(network: FlowNetwork) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


def has_no_gradient_at_all(network: FlowNetwork) -> bool:
    return all(p.grad is None for p in network.parameters())


def labels_of(network: FlowNetwork, folder: Path, selection: SelectionSettings | None = None) -> LabelCache:
    freeze(network)
    labeler = matches_labeler(network, selection or SelectionSettings(rule="all"), "forward_backward", CENSUS)
    return LabelCache(labeler, folder, 1e9, SIZE[0] * SIZE[1])


class Spy:
    """Records the label and mask of a distillation loss."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        original = getattr(module, name)

        def spy(prediction: Any, label: Tensor, mask: Tensor, *others: Any) -> Tensor:
            self.prediction, self.label, self.mask = prediction, label, mask
            loss: Tensor = original(prediction, label, mask, *others)
            return loss

        monkeypatch.setattr(module, name, spy)


def test_stage_1_trains_the_teacher_on_its_own_masked_label(
    batch: Batch, teacher: FastFlowNetwork, monkeypatch: pytest.MonkeyPatch
):
    spy = Spy(monkeypatch, stage_unsupervised, "sequence_loss")
    settings = Stage1Settings(distillation=DistillationSettings(weight=1.0))
    outcome = UnsupervisedObjective(settings, SelectionSettings(), 5, CENSUS)(teacher, batch, 0.0)
    outcome.loss.backward()
    assert has_gradient(teacher)
    assert set(outcome.metrics) == {"photometric", "smoothness", "distillation", "visible", "checked_visible"}
    assert not spy.label.requires_grad and not spy.mask.requires_grad and spy.prediction[-1].requires_grad
    with torch.no_grad():
        flow = torch.nn.functional.interpolate(teacher(batch.first, batch.second)[-1], SIZE, mode="bilinear")
    augmentation = augmentation_of(batch, settings.augmentation, 5)
    assert torch.allclose(spy.label, augmentation.flow(flow), atol=1e-4)
    visible = select_matches(
        stack_directions(*batch[2:]), flow, SelectionSettings(), "forward_backward", CENSUS
    ).visible
    assert torch.allclose(spy.mask, augmentation.mask(visible), atol=1e-4)


def test_stage_1_adds_the_distillation_term_only_later(batch: Batch, teacher: FastFlowNetwork):
    objective = UnsupervisedObjective(Stage1Settings(), SelectionSettings(), 0, CENSUS)
    assert "distillation" not in objective(teacher, batch, 0.4).metrics
    settings = DistillationSettings(weight=0.4, start=0.5, ramp=0.2)
    assert [ramp(settings, progress) for progress in (0.0, 0.49, 0.6, 0.7, 1.0)] == pytest.approx([0, 0, 0.2, 0.4, 0.4])


def test_stage_2_trains_the_student_alone(
    batch: Batch, teacher: FastFlowNetwork, student: FlowNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spy = Spy(monkeypatch, stage_teacher_to_student, "sequence_loss")
    selection = SelectionSettings(rule="quantile")
    objective = TeacherToStudentObjective(Stage2Settings(), labels_of(teacher, tmp_path, selection), 5, CENSUS)
    outcome = objective(student, batch, 0.0)
    outcome.loss.backward()
    assert has_gradient(student) and has_no_gradient_at_all(teacher)
    assert not spy.label.requires_grad and not spy.mask.requires_grad
    assert len(spy.prediction) == 2, "every refinement is taught"
    flow = objective.labels(batch).flow
    matches = select_matches(stack_directions(*batch[2:]), flow, selection, "forward_backward", CENSUS)
    augmentation = augmentation_of(batch, Stage2Settings().augmentation, 5)
    assert matches.visible.any() and spy.mask.any()
    assert (spy.mask <= augmentation.mask(matches.visible) + 1e-5).all(), "M is within O"
    assert torch.allclose(spy.label, augmentation.flow(flow), atol=1e-4)


def test_stage_2_has_no_term_but_the_label(
    batch: Batch, teacher: FastFlowNetwork, student: FlowNetwork, tmp_path: Path
):
    """Without reliable matches, the loss must be 0; a photometric or smoothness term would make it larger."""
    labels = labels_of(teacher, tmp_path, SelectionSettings(threshold=1e-9))
    outcome = TeacherToStudentObjective(Stage2Settings(), labels, 0, CENSUS)(student, batch, 0.0)
    outcome.loss.backward()
    assert not labels(batch).mask.any() and float(outcome.loss.detach()) == 0
    assert not has_gradient(student)
    assert set(outcome.metrics) == {"visible", "reliable"}


@pytest.mark.parametrize("label_mask", ["teacher_visible", "student_reliable", "all"])
def test_stage_3_trains_the_teacher_on_student_labels_in_its_own_mask(
    label_mask: str,
    batch: Batch,
    teacher: FastFlowNetwork,
    student: FlowNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    spy = Spy(monkeypatch, stage_unsupervised, "sequence_loss")
    settings = Stage3Settings(label_mask=label_mask)  # type: ignore[arg-type]
    selection = SelectionSettings(rule="quantile")
    objective = StudentToTeacherObjective(settings, selection, labels_of(student, tmp_path, selection), 5, CENSUS)
    outcome = objective(teacher, batch, 0.0)
    outcome.loss.backward()
    assert has_gradient(teacher) and has_no_gradient_at_all(student)
    assert {"photometric", "smoothness", "distillation"} <= set(outcome.metrics), "multi-target learning"
    assert not spy.label.requires_grad and not spy.mask.requires_grad
    student_labels = labels_of(student, tmp_path)(batch)
    with torch.no_grad():
        flow = torch.nn.functional.interpolate(teacher(batch.first, batch.second)[-1], SIZE, mode="bilinear")
    visible = select_matches(stack_directions(*batch[2:]), flow, selection, "forward_backward", CENSUS).visible
    masks = {
        "teacher_visible": visible,
        "student_reliable": student_labels.mask,
        "all": torch.ones_like(visible),
    }
    augmentation = augmentation_of(batch, settings.augmentation, 5)
    assert torch.allclose(spy.label, augmentation.flow(student_labels.flow), atol=1e-4)
    assert torch.allclose(spy.mask, augmentation.mask(masks[label_mask]), atol=1e-4)


def test_stage_3_without_the_unsupervised_term_learns_from_labels_alone(
    batch: Batch, teacher: FastFlowNetwork, student: FlowNetwork, tmp_path: Path
):
    settings = Stage3Settings(unsupervised=UnsupervisedSettings(weight=0), distillation=DistillationSettings(weight=2))
    outcome = StudentToTeacherObjective(settings, SelectionSettings(), labels_of(student, tmp_path), 5, CENSUS)(
        teacher, batch, 0.0
    )
    assert float(outcome.loss.detach()) == pytest.approx(2 * float(outcome.metrics["distillation"].detach()), rel=1e-5)
    outcome.loss.backward()
    assert has_gradient(teacher)


def test_photometric_loss_sees_the_clean_pair(batch: Batch, teacher: FastFlowNetwork, monkeypatch: pytest.MonkeyPatch):
    seen = []
    original = stage_unsupervised.photometric_loss

    def spy(source: Tensor, target: Tensor, *others: Any) -> Tensor:
        seen.append((source, target))
        return original(source, target, *others)

    monkeypatch.setattr(stage_unsupervised, "photometric_loss", spy)
    settings = Stage1Settings(distillation=DistillationSettings(weight=1.0))
    UnsupervisedObjective(settings, SelectionSettings(), 0, CENSUS)(teacher, batch, 1.0)
    [(source, target)] = seen
    assert torch.equal(source, luma(stack_directions(batch.first, batch.second)))
    assert torch.equal(target, luma(stack_directions(batch.second, batch.first)))


def test_a_mask_that_is_not_on_yet_hides_nothing_from_the_losses(
    batch: Batch, teacher: FastFlowNetwork, monkeypatch: pytest.MonkeyPatch
):
    spy = Spy(monkeypatch, stage_unsupervised, "sequence_loss")
    settings = Stage1Settings(
        occlusion=OcclusionSettings(start=0.5),
        distillation=DistillationSettings(weight=1.0),
        augmentation=AugmentationSettings(spatial=None),
    )
    outcome = UnsupervisedObjective(settings, SelectionSettings(), 0, CENSUS)(teacher, batch, 0.0)
    assert spy.mask.all() and float(outcome.metrics["visible"]) == 1 > float(outcome.metrics["checked_visible"])


def test_panels_show_six_pictures(batch: Batch, teacher: FastFlowNetwork, student: FlowNetwork, tmp_path: Path):
    selection = SelectionSettings()
    outcomes = [
        UnsupervisedObjective(Stage1Settings(), selection, 0, CENSUS)(teacher, batch, 0.0),
        TeacherToStudentObjective(Stage2Settings(), labels_of(teacher, tmp_path / "a"), 0, CENSUS)(student, batch, 0.0),
    ]
    for outcome in outcomes:
        picture = outcome.draw()
        assert picture.shape == (128, 6 * 128, 3) and picture.dtype == "uint8" and picture[:, :128].std() > 0
