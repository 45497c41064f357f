# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Ablation study of mutual distillation on a recording with ground-truth flow.

    python benchmarks/adaptation_study.py drive --truth world/truth_of_recording --out study --seeds 0 1

Make the recording and its ground truth with `training/robot_world.py`. The first row is MDFlow with a student that a
CPU can train, `training/configs/adapt_cpu.yaml`; each other row changes one setting. All rows of a seed share stage 1.
The gate is off, so that every stage runs. The upper bound learns from the true flow of the same frames in as many
updates, without the terms that need no label. Errors are of the pairs that an adaptation's report judges by. The same
command resumes a study; processes may share the work by seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.resizing import Size, resize_flow
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL, load_card
from mdflow_training.adaptation.from_recordings import load_teacher
from mdflow_training.adaptation.label_cache import Labels
from mdflow_training.adaptation.mutual_distillation import adapt
from mdflow_training.adaptation.outcome import split_held_out
from mdflow_training.adaptation.student_to_teacher import StudentToTeacherObjective
from mdflow_training.engine.batches import Batch, training_size
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.loop import Run, State, run_stage
from mdflow_training.evaluation.baselines import Baseline, dis_flow
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.held_out_metrics import GroundTruth, load_ground_truth
from mdflow_training.losses.census import Census
from mdflow_training.networks.flow_network import FastFlowNetwork
from mdflow_training.networks.students import load_core
from mdflow_training.report.adapted_model import export_adapted
from mdflow_training.settings.adaptation import FULL_AUGMENTATION, AdaptationConfig, load_adaptation_config

CONFIG = Path(__file__).resolve().parents[1] / "training" / "configs" / "adapt_cpu.yaml"
BASE = ("rounds=1", "validation.gate=false", "execution.panel_every=100000")

NO_CONTROL = "control=false"
"""The control has no student, so it is the same for every row of as many rounds."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "MDFlow (labels: reliable matches M)": (),
    "labels: visible": ("stage2.selection.rule=visible", NO_CONTROL),
    "labels: all": ("stage2.selection.rule=all", NO_CONTROL),
    "no augmentation": ("stage2.augmentation=null", "stage3.augmentation=null", NO_CONTROL),
    "stronger augmentation": (
        *(f"stage{number}.augmentation={FULL_AUGMENTATION.model_dump_json()}" for number in (2, 3)),
        NO_CONTROL,
    ),
    "stage 3 without unsupervised term": ("stage3.unsupervised.weight=0", NO_CONTROL),
    "stage 3 as in the paper: from the teacher, visible labels": (
        *("stage3.start_from=teacher", "stage3.label_mask=teacher_visible"),
        NO_CONTROL,
    ),
    "two rounds": ("rounds=2",),
    "student raft_small, from scratch": (
        *("student.name=raft_small", "student.weights=null", "stage3.start_from=teacher"),
        NO_CONTROL,
    ),
}
SUPERVISED = "upper bound: supervised by the ground truth"


def true_labels(ground_truth: GroundTruth, size: Size) -> Callable[[Batch], Labels]:
    """Return what labels batches by their true forward flow; the backward one is unknown.

    Args:
        ground_truth: true flow by pair.
        size: of training.
    """
    shape = (size.height, size.width)

    def label(batch: Batch) -> Labels:
        count = len(batch.indices)
        flow, mask = torch.zeros(2 * count, 2, *shape), torch.zeros(2 * count, 1, *shape)
        for row, index in enumerate(batch.indices):
            true_flow = ground_truth(index)
            if true_flow is None:
                continue
            known = torch.from_numpy(resize_flow(true_flow, size)).permute(2, 0, 1)
            mask[row, 0] = known.isfinite().all(dim=0)
            flow[row] = known.nan_to_num()
        return Labels(flow, mask, flow.new_ones(count))

    return label


def train_on_ground_truth(
    teacher: State,
    pairs: RecordedPairs,
    ground_truth: GroundTruth,
    config: AdaptationConfig,
    folder: Path,
    context: ProcessContext,
) -> State:
    """Fine-tune a teacher on true flow, for all updates that MDFlow gives it, and with stage 3's augmentation."""
    settings = config.stage3.model_copy(
        update={
            "label_mask": "student_reliable",
            "unsupervised": config.stage3.unsupervised.model_copy(update={"weight": 0.0}),
            "distillation": config.stage3.distillation.model_copy(update={"weight": 1.0, "sequence_decay": 0.8}),
        }
    )
    steps = config.stage1.optimization.steps + config.rounds * config.teacher_updates
    optimization = config.stage1.optimization.model_copy(update={"steps": steps})
    run = Run(config, folder, context, pairs, training_size(pairs[0][0].shape[:2], config))
    network = FastFlowNetwork(run.autocast)
    load_core(network.core, teacher, "of the teacher")
    labels = true_labels(ground_truth, run.size)
    objective = StudentToTeacherObjective(settings, config.stage2.selection, labels, config.seed, Census())
    return run_stage("supervised", network.to(context.device), objective, optimization, config.seed, run).state


def true_error(method: Baseline, pairs: RecordedPairs, ground_truth: GroundTruth) -> float:
    """Return the endpoint error in pixels, mean over the pairs with truth."""
    errors = [
        np.nanmean(endpoint_error(method(*pairs[index]), true_flow))
        for index in range(len(pairs))
        if (true_flow := ground_truth(index)) is not None
    ]
    return float(np.mean(errors))


def flow_of(state: State, parent: Path, quality: str) -> Baseline:
    """Return what estimates flow, ``(H, W, 2)`` in pixels, with a teacher's weights, as the node does."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "teacher.onnx"
        export_adapted(state, load_card(parent), model, name="study", training={})
        estimator = FlowEstimator(model, "onnxruntime", quality=quality)
    return lambda first, second: estimator.estimate(first, second, with_confidence=False).flow


class Study:
    """Runs variants and remembers their errors in ``seed*/errors.json``."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder: Path = options.out
        self.overrides: list[str] = [*BASE, *options.set]
        self.context = ProcessContext(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        prepared = prepare_pairs(
            [options.recording], self.folder / "frames", load_adaptation_config(CONFIG, self.overrides).frames
        )
        self.training = prepared.training
        self.to_choose_by, self.to_report_on = split_held_out(prepared.held_out)
        self.training_ground_truth = load_ground_truth(options.ground_truth, self.training)
        self.report_ground_truth = load_ground_truth(options.ground_truth, self.to_report_on)
        self.model: Path = options.model
        self.teacher = load_teacher(self.model)
        self.errors: dict[int, dict[str, dict[str, float]]] = {seed: self._known(seed) for seed in options.seeds}

    def run(self, variant: str, seed: int) -> None:
        """Run one variant, unless its errors are known."""
        errors = self.errors[seed]
        if variant in errors:
            return
        folder = self.folder / f"seed{seed}" / "".join(letter if letter.isalnum() else "_" for letter in variant)
        changes = () if variant == SUPERVISED else VARIANTS[variant]
        config = load_adaptation_config(CONFIG, [*self.overrides, *changes, f"seed={seed}"])
        if variant == SUPERVISED:
            ground_truth = self.training_ground_truth
            states = {
                "stage3": train_on_ground_truth(self.teacher, self.training, ground_truth, config, folder, self.context)
            }
        else:
            states = self._adapt(config, folder, seed)
        errors[variant] = {
            name: true_error(flow_of(state, self.model, config.quality), self.to_report_on, self.report_ground_truth)
            for name, state in states.items()
        }
        replace_file(self._file(seed), json.dumps(errors, indent=2).encode())
        print(f"seed {seed}, {variant}: {errors[variant]}", flush=True)

    def _adapt(self, config: AdaptationConfig, folder: Path, seed: int) -> dict[str, State]:
        shared = self.folder / f"seed{seed}" / "stage1"
        if shared.exists() and not folder.exists():
            folder.mkdir(parents=True)
            shutil.copytree(shared, folder / "stage1")
        result = adapt(self.teacher, self.training, self.to_choose_by, config, folder, self.context)
        if not shared.exists():
            shutil.copytree(folder / "stage1", shared)
        states = {name.rpartition("/")[2]: state for name, state in result.teachers.items()}
        if config.student.name == "fastflownet" and result.student_state is not None:
            states["student"] = result.student_state
        return states

    def table(self) -> str:
        """Return the mean over seeds, and every seed, as a Markdown table."""
        columns = ("initial", "stage1", "student", "stage3", "control")
        rows = [f"| variant | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
        for variant in (*VARIANTS, SUPERVISED):
            found = [errors[variant] for errors in self.errors.values() if variant in errors]
            cells = []
            for column in columns:
                values = [of_seed[column] for of_seed in found if column in of_seed]
                each = f" ({', '.join(f'{value:.3f}' for value in values)})" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{each}" if values else "")
            if found:
                rows.append(f"| {variant} | {' | '.join(cells)} |")
        return "\n".join(rows)

    def _file(self, seed: int) -> Path:
        return self.folder / f"seed{seed}" / "errors.json"

    def _known(self, seed: int) -> dict[str, dict[str, float]]:
        return json.loads(self._file(seed).read_text()) if self._file(seed).exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", help="see training/frame_source.py")
    parser.add_argument(
        "--ground-truth", "--truth", type=Path, required=True, help="folder of true flows, FIRST_SECOND.flo by stamps"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="teacher to begin with (default: bundled)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="default: 0 1")
    parser.add_argument("--only", nargs="*", metavar="VARIANT", help="of: " + "; ".join((*VARIANTS, SUPERVISED)))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting of all rows")
    options = parser.parse_args(arguments)
    study = Study(options)
    wanted = [name for name in (*VARIANTS, SUPERVISED) if options.only is None or name in options.only]
    for seed in options.seeds:
        for variant in tqdm(wanted, desc=f"seed {seed}", unit="variant"):
            study.run(variant, seed)
    reference = true_error(dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), study.to_report_on, study.report_ground_truth)
    print(f"OpenCV's DIS: {reference:.3f} px", study.table(), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
