# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""MDFlow's mutual distillation: adapt a teacher to unlabeled frame pairs, through all stages and rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from mdflow_ros.core.atomic_files import write_json
from mdflow_ros.core.resizing import Size, size_of
from mdflow_training.adaptation.run_folder import claim_folder, identity_of
from mdflow_training.adaptation.score_book import ScoreBook
from mdflow_training.adaptation.stage_inputs import StageInputs
from mdflow_training.adaptation.student_to_teacher import StudentToTeacherObjective
from mdflow_training.adaptation.teacher_to_student import TeacherToStudentObjective
from mdflow_training.adaptation.unsupervised import UnsupervisedObjective
from mdflow_training.engine.batches import FramePairs, training_size
from mdflow_training.engine.checkpoint import save_state
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.loop import Run, StageResult, State, quality_of, run_stage
from mdflow_training.engine.seeds import derive_seed
from mdflow_training.judging.label_free_score import LabelFreeScore
from mdflow_training.networks.flow_network import FlowNetwork
from mdflow_training.settings.adaptation import AdaptationConfig


@dataclass
class AdaptationResult:
    """The result of an adaptation.

    Attributes:
        teacher_state: weights of the chosen teacher: the last one that passed the label-free check; without the gate,
            the last one whose stage was not stopped by a guard.
        chosen: key of the chosen teacher in ``teachers``.
        teachers: the weights of every teacher by name: ``initial``, ``stage1``, ``round1/stage3``, ..., ``control``.
        student_state: weights of the last student, or None.
        scores: the label-free score of every teacher and student (``round1/stage2``).
        notes: the decisions of the run and their reasons.
        stopped: why a guard stopped the adaptation early, or None.
        size: image size of the training.
    """

    teacher_state: State
    chosen: str
    teachers: dict[str, State] = field(default_factory=dict)
    student_state: State | None = None
    scores: dict[str, LabelFreeScore] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped: str | None = None
    size: Size = field(default_factory=lambda: Size(0, 0))


def adapt(
    teacher_state: Mapping[str, Tensor],
    training_pairs: FramePairs,
    validation_pairs: FramePairs,
    config: AdaptationConfig,
    run_folder: Path,
    context: ProcessContext,
    on_checkpoint: Callable[[], None] = lambda: None,
) -> AdaptationResult:
    """Adapt a teacher to the scenes in the pairs, or resume an interrupted run.

    A second call with the same arguments completes an interrupted run. The result is that of an uninterrupted run: on a
    CPU exactly, on a GPU except for the rounding of operations with a varying order.

    Args:
        teacher_state: weights of a FastFlowNet with cost-volume normalization, by official names.
        training_pairs: the pairs to train on.
        validation_pairs: held-out pairs, used only for the label-free check.
        config: all settings.
        run_folder: receives checkpoints, logs, labels (deleted after each stage), and ``adaptation.json``.
        context: this process.
        on_checkpoint: called in the main process whenever the state of the run has been saved.

    Raises:
        ConfigError: the folder contains a run with different settings, weights or data.
        ValueError: there are no pairs, or the weights do not fit the network.
    """
    if len(training_pairs) == 0 or len(validation_pairs) == 0:
        raise ValueError(
            "adaptation needs pairs of frames, both to learn from and held out: record a longer drive, or change "
            "frames.held_out_share"
        )
    size = training_size(size_of(training_pairs[0][0]), config, quality_of(config, context))
    run = Run(config, run_folder, context, training_pairs, size, on_checkpoint)
    claim_folder(run_folder, identity_of(teacher_state, validation_pairs, run), context)
    result = _Adaptation(teacher_state, run, validation_pairs).run_all()
    if context.is_main:
        _write_summary(run_folder, result)
    return result


class _Adaptation:
    """Runs the stages in order and decides which teachers to keep."""

    def __init__(self, teacher_state: Mapping[str, Tensor], run: Run, validation_pairs: FramePairs) -> None:
        self.run, self.config = run, run.config
        self.inputs = StageInputs(run)
        self.census = self.inputs.census
        self.book = ScoreBook(run, validation_pairs, self.census)
        state = self.inputs.initial_teacher(teacher_state)
        self.result = AdaptationResult(state, "initial", {"initial": state}, scores=self.book.scores, size=run.size)
        self.result.notes.append(f"camera noise: {self.inputs.noise:.1f} intensity levels; {self.census}")

    def run_all(self) -> AdaptationResult:
        """Run stage 1, then rounds of stages 2 and 3 while they help, then the control."""
        if self.config.rounds:
            self.inputs.student(self.result.teacher_state)  # fail now, not hours later, if it cannot be built
        self.book.score("initial", self.inputs.teacher(self.result.teacher_state))
        self._stage1()
        base, student, stage3_runs = self.result.teacher_state, None, 0
        for number in range(1, self.config.rounds + 1):
            student = self._stage2(number, student)
            if student is None:
                break
            stage3_runs = number
            if not self._stage3(number, student):
                break
        if self.config.control:
            self._control(base, stage3_runs)
        return self.result

    def _stage1(self) -> None:
        seed = derive_seed(self.config.seed, "stage1")
        settings = self.config.stage1
        labels = self.inputs.labels("stage1", self.inputs.teacher(self.result.teacher_state))
        supervised = self.inputs.supervised_terms(settings.warped_pairs, labels, seed)
        objective = UnsupervisedObjective(settings, self.config.stage2.selection, seed, self.census, supervised)
        network = self.inputs.teacher(self.result.teacher_state)
        stage = run_stage("stage1", network, objective, settings.optimization, seed, self.run)
        self.inputs.discard(labels)
        self._score_and_select("stage1", stage)

    def _stage2(self, number: int, student: FlowNetwork | None) -> FlowNetwork | None:
        """Train the student; return it if it is good enough to teach."""
        if self.result.stopped is not None:
            return None
        name, settings = f"round{number}/stage2", self.config.stage2
        seed = derive_seed(self.config.seed, name)
        student = self.inputs.student(self.result.teacher_state) if student is None else student.requires_grad_(True)
        labels = self.inputs.labels(name, self.inputs.teacher(self.result.teacher_state))
        supervised = self.inputs.supervised_terms(settings.warped_pairs, labels, seed)
        objective = TeacherToStudentObjective(settings, labels, seed, self.census, supervised)
        stage = run_stage(name, student, objective, settings.optimization, seed, self.run)
        self.inputs.discard(labels)
        self.result.student_state = stage.state
        score = self.book.score(name, student)
        if stage.stopped is not None:
            self.result.stopped = stage.stopped
            return None
        teacher_score, validation = self.result.scores[self.result.chosen], self.config.validation
        compared = f"label-free error {score.error:.4f}, its teacher's {teacher_score.error:.4f}"
        if validation.gate and not score.is_better_than(teacher_score, -validation.student_tolerance):
            self.result.notes.append(
                f"round {number}: the student ({compared}) is too poor, so it does not teach; more "
                "stage2.optimization.steps may help"
            )
            return None
        self.result.notes.append(f"round {number}: the student ({compared}) teaches")
        return student

    def _stage3(self, number: int, student: FlowNetwork) -> bool:
        """Train the teacher with the student's labels; return whether it is the best so far."""
        name, settings = f"round{number}/stage3", self.config.stage3
        seed = derive_seed(self.config.seed, name)
        selection = self.config.stage2.selection
        labels = self.inputs.labels(name, student)
        supervised = self.inputs.supervised_terms(settings.warped_pairs, labels, seed)
        objective = StudentToTeacherObjective(settings, selection, labels, seed, self.census, supervised)
        begin = student.core.state_dict() if settings.start_from == "student" else self.result.teacher_state
        network = self.inputs.teacher(begin)
        stage = run_stage(name, network, objective, settings.optimization, seed, self.run)
        self.inputs.discard(labels)
        return self._score_and_select(name, stage)

    def _control(self, base: State, rounds: int) -> None:
        """Train the control: the teacher of stage 1, with the settings, samples and replay of stage 3.

        It gets as many updates as the rounds gave the teacher, but has no student. It learns from its own labels, and
        not from warped pairs.
        """
        settings, state = self.config.stage3, base
        optimization = settings.optimization.model_copy(update={"steps": self.config.teacher_updates})
        for number in range(1, rounds + 1):
            seed = derive_seed(self.config.seed, f"round{number}/stage3")
            replay = self.inputs.supervised_terms(None, None, seed)
            objective = UnsupervisedObjective(settings, self.config.stage2.selection, seed, self.census, replay)
            network = self.inputs.teacher(state)
            stage = run_stage(f"control/round{number}", network, objective, optimization, seed, self.run)
            state = stage.state
            if stage.stopped is not None:
                self.result.notes.append(stage.stopped)
                break
        if rounds:
            self.result.teachers["control"] = state
            control = self.book.score("control", self.inputs.teacher(state))
            chosen = self.result.scores[self.result.chosen]
            relation = "at least as good as" if control.error <= chosen.error else "worse than"
            self.result.notes.append(
                f"control: label-free error {control.error:.4f}; after as many updates without a student, it is "
                f"{relation} the teacher ({chosen.error:.4f})"
            )

    def _score_and_select(self, name: str, stage: StageResult) -> bool:
        """Score a new teacher, choose it if it passes the check, and return whether it is the best so far."""
        scores, validation = self.result.scores, self.config.validation
        best = min(scores[teacher].error for teacher in self.result.teachers)
        before = scores[self.result.chosen]
        self.result.teachers[name] = stage.state
        score = self.book.score(name, self.inputs.teacher(stage.state))
        self.result.stopped = stage.stopped
        tolerance = 0.0 if name == "stage1" else validation.teacher_tolerance
        gain = validation.minimum_gain - tolerance
        good = score.is_better_than(scores["initial"], gain) and score.error < best * (1 + tolerance)
        kept = good if validation.gate else stage.stopped is None
        improved = score.error < best if validation.gate else kept
        verdict = "is kept" if kept else f"is not kept: {self.result.chosen} stays"
        if kept and not improved:
            verdict += ", although it is not the best so far: the difference is within validation.teacher_tolerance"
        self.result.notes.append(
            f"{name}: label-free error {before.error:.4f} -> {score.error:.4f}, the teacher {verdict}"
        )
        if kept:
            self.result.chosen, self.result.teacher_state = name, stage.state
        return kept and improved and stage.stopped is None


def _write_summary(folder: Path, result: AdaptationResult) -> None:
    summary = {
        "chosen": result.chosen,
        "stopped": result.stopped,
        "notes": result.notes,
        "size": [result.size.height, result.size.width],
        "scores": {name: score._asdict() for name, score in result.scores.items()},
    }
    write_json(folder / "adaptation.json", summary)
    save_state(folder / "teacher.pt", {"state_dict": result.teacher_state, "cost_volume_normalization": True})
