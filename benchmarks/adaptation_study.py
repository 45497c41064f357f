# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Ablation study of mutual distillation on a recording with ground-truth flow.

    python benchmarks/adaptation_study.py drive --ground-truth world/truth_of_recording --out study --data ../eval

Make the recording and its ground truth with `training/robot_world.py`. The first row is the model before adaptation,
the second row is the preset for CPUs (`training/configs/adapt_cpu.yaml`), and each other row changes one part of the
preset. Variants with the same stage 1 train it only once. The gate is off, so that every stage runs. The upper bound
learns from the true flow of the same frames, with as many updates, but without the unsupervised terms.

The errors are measured on the pairs of an adaptation's report. With ``--data``, the last teacher of each row is also
measured on data sets, to show what it forgot. The same command resumes a study. To share the work among processes, give
each process other seeds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from mdflow_ros.core.atomic_files import write_json
from mdflow_ros.core.resizing import Size, resize_flow, size_of
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL, load_card
from mdflow_training.adaptation.label_cache import Labels
from mdflow_training.adaptation.mutual_distillation import adapt
from mdflow_training.adaptation.outcome import split_held_out
from mdflow_training.adaptation.student_to_teacher import StudentToTeacherObjective
from mdflow_training.engine.batches import Batch, training_size
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.loop import Run, State, quality_of, run_stage
from mdflow_training.evaluation.baselines import Baseline, dis_flow
from mdflow_training.evaluation.datasets import find_benchmarks
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.flow_files import Flow, Image
from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.ground_truth import GroundTruth, load_ground_truth
from mdflow_training.losses.census import Census
from mdflow_training.networks.flow_network import FastFlowNetwork
from mdflow_training.networks.students import load_core
from mdflow_training.networks.teacher import load_teacher
from mdflow_training.report.adapted_model import export_adapted
from mdflow_training.report.report import BEFORE
from mdflow_training.settings.adaptation import FULL_AUGMENTATION, AdaptationConfig, load_adaptation_config

CONFIG = Path(__file__).resolve().parents[1] / "training" / "configs" / "adapt_cpu.yaml"
BASE = ("rounds=1", "control=true", "validation.gate=false", "execution.panel_every=100000")

NO_CONTROL = "control=false"
"""Only the preset has a control."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "the preset": (),
    "all weights learn": ("trained_weights=all", NO_CONTROL),
    "without replay": ("replay.weight=0", NO_CONTROL),
    "replay of made-up textures alone": ("replay.frames=0", NO_CONTROL),
    "without warped pairs": ("stage2.warped_pairs.weight=0", "stage3.warped_pairs.weight=0", NO_CONTROL),
    "labels: not refined": ("labels.refine=false", NO_CONTROL),
    "labels: the network's own flow": ("labels.scales=[1.0]", "labels.refine=false", NO_CONTROL),
    "labels: means over two sizes, mirrored": ("labels.scales=[1.0,1.5]", "labels.mirrored=true", NO_CONTROL),
    "stage 2 learns from visible pixels": ("stage2.selection.rule=visible", NO_CONTROL),
    "stage 2 learns from all pixels": ("stage2.selection.rule=all", NO_CONTROL),
    "stages 2 and 3 without augmentation": ("stage2.augmentation=null", "stage3.augmentation=null", NO_CONTROL),
    "stages 2 and 3 with stronger augmentation": (
        *(f"stage{number}.augmentation={FULL_AUGMENTATION.model_dump_json()}" for number in (2, 3)),
        NO_CONTROL,
    ),
    "stage 3 without unsupervised term": ("stage3.unsupervised.weight=0", NO_CONTROL),
    "stage 3 as in the paper: from the teacher, visible labels": (
        *("stage3.start_from=teacher", "stage3.label_mask=teacher_visible"),
        NO_CONTROL,
    ),
    "two rounds": ("rounds=2", NO_CONTROL),
    "student raft_small, from scratch": (
        *("student.name=raft_small", "student.weights=null", "stage3.start_from=teacher"),
        NO_CONTROL,
    ),
}
SUPERVISED = "upper bound: supervised by the ground truth"
ROWS = (BEFORE, *VARIANTS, SUPERVISED)

PairWithFlow = tuple[Image, Image, Flow]
"""Two frames, ``(H, W, 3)`` uint8 RGB, and the flow between them, ``(H, W, 2)`` pixels, NaN where unknown."""


def true_labels(ground_truth: GroundTruth, size: Size) -> Callable[[Batch], Labels]:
    """Return a function that labels batches with their true forward flow; the backward flow gets an empty mask.

    Args:
        ground_truth: returns the true flow of a pair.
        size: image size of the training.
    """
    shape = (size.height, size.width)

    def label(batch: Batch) -> Labels:
        count = len(batch.indices)
        flow, mask = torch.zeros(2 * count, 2, *shape), torch.zeros(2 * count, 1, *shape)
        for row, index in enumerate(batch.indices):
            true_flow = ground_truth(index)
            if true_flow is None:
                continue
            resized = torch.from_numpy(resize_flow(true_flow, size)).permute(2, 0, 1)
            mask[row, 0] = resized.isfinite().all(dim=0)
            flow[row] = resized.nan_to_num()
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
    """Fine-tune a teacher on true flow, for as many updates as MDFlow gives it, with the augmentation of stage 3."""
    settings = config.stage3.model_copy(
        update={
            "label_mask": "student_reliable",
            "unsupervised": config.stage3.unsupervised.model_copy(update={"weight": 0.0}),
            "distillation": config.stage3.distillation.model_copy(update={"weight": 1.0, "sequence_decay": 0.8}),
        }
    )
    steps = config.stage1.optimization.steps + config.rounds * config.teacher_updates
    optimization = config.stage1.optimization.model_copy(update={"steps": steps})
    size = training_size(size_of(pairs[0][0]), config, quality_of(config, context))
    run = Run(config, folder, context, pairs, size)
    network = FastFlowNetwork(run.autocast, run.quality.decoding.level, config.trained_weights)
    load_core(network.core, teacher, "of the teacher")
    labels = true_labels(ground_truth, run.size)
    objective = StudentToTeacherObjective(settings, config.stage2.selection, labels, config.seed, Census())
    return run_stage("supervised", network.to(context.device), objective, optimization, config.seed, run).state


def true_error(method: Baseline, pairs: Iterable[PairWithFlow]) -> float:
    """Return the endpoint error in pixels, mean over pairs."""
    return float(np.mean([np.nanmean(endpoint_error(method(first, second), flow)) for first, second, flow in pairs]))


def flow_of(state: State, parent: Path, quality: str) -> Baseline:
    """Return a function that estimates flow, ``(H, W, 2)`` in pixels, as a node with a teacher's weights does."""
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
        self.other_scenes = find_benchmarks(options.data).sets if options.data else {}
        self.model: Path = options.model
        self.teacher = load_teacher(self.model)
        self.errors: dict[int, dict[str, dict[str, float]]] = {seed: self._stored(seed) for seed in options.seeds}

    def run(self, variant: str, seed: int) -> None:
        """Run one variant, unless its errors are stored already."""
        errors = self.errors[seed]
        if variant in errors:
            return
        folder = self.folder / f"seed{seed}" / "".join(letter if letter.isalnum() else "_" for letter in variant)
        config = load_adaptation_config(CONFIG, [*self.overrides, *VARIANTS.get(variant, ()), f"seed={seed}"])
        if variant == BEFORE:
            states = {"stage3": self.teacher}
        elif variant == SUPERVISED:
            ground_truth = self.training_ground_truth
            states = {
                "stage3": train_on_ground_truth(self.teacher, self.training, ground_truth, config, folder, self.context)
            }
        else:
            states = self._adapt(config, folder, seed)
        errors[variant] = self._measure(states, config.quality)
        self._file(seed).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file(seed), errors)
        print(f"seed {seed}, {variant}: {errors[variant]}", flush=True)

    def report_pairs(self) -> Iterator[PairWithFlow]:
        """Yield the pairs of an adaptation's report that have ground truth."""
        for index in range(len(self.to_report_on)):
            if (flow := self.report_ground_truth(index)) is not None:
                yield (*self.to_report_on[index], flow)

    def _adapt(self, config: AdaptationConfig, folder: Path, seed: int) -> dict[str, State]:
        stage1_settings = [part.model_dump_json() for part in (config.stage1, config.replay, config.labels)]
        digest = hashlib.sha256("".join([*stage1_settings, config.trained_weights]).encode()).hexdigest()[:8]
        shared = self.folder / f"seed{seed}" / f"stage1_{digest}"
        if shared.exists() and not folder.exists():
            folder.mkdir(parents=True)
            shutil.copytree(shared, folder / "stage1")
        result = adapt(self.teacher, self.training, self.to_choose_by, config, folder, self.context)
        if not shared.exists():
            shutil.copytree(folder / "stage1", shared)
        states = {name.rpartition("/")[2]: state for name, state in result.teachers.items() if name != "initial"}
        if config.student.name == "fastflownet" and result.student_state is not None:
            states["student"] = result.student_state
        return states

    def _measure(self, states: dict[str, State], quality: str) -> dict[str, float]:
        """Return the error of every network on the recording, and of the last teacher on the other data sets."""
        methods = {name: flow_of(state, self.model, quality) for name, state in states.items()}
        errors = {name: true_error(method, self.report_pairs()) for name, method in methods.items()}
        for name, files in self.other_scenes.items():
            loaded = (pair.load() for pair in files)
            pairs = ((pair.first, pair.second, pair.ground_truth) for pair in loaded)
            errors[name] = true_error(methods["stage3"], pairs)
        return errors

    def table(self) -> str:
        """Return the errors as a Markdown table: the mean over the seeds, and each seed in brackets."""
        titles = {"stage1": "after stage 1", "student": "student", "stage3": "teacher at the end", "control": "control"}
        columns = {**titles, **{name: f"teacher on {name}" for name in self.other_scenes}}
        rows = [f"| | {' | '.join(columns.values())} |", f"|---{'|---' * len(columns)}|"]
        for variant in ROWS:
            found = [errors[variant] for errors in self.errors.values() if variant in errors]
            cells = []
            for column in columns:
                values = [of_seed[column] for of_seed in found if column in of_seed]
                each = f" ({', '.join(f'{value:.3f}' for value in values)})" if len(set(values)) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{each}" if values else "")
            if found:
                rows.append(f"| {variant} | {' | '.join(cells)} |")
        return "\n".join(rows)

    def _file(self, seed: int) -> Path:
        return self.folder / f"seed{seed}" / "errors.json"

    def _stored(self, seed: int) -> dict[str, dict[str, float]]:
        return json.loads(self._file(seed).read_text()) if self._file(seed).exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", help="see training/frame_source.py")
    parser.add_argument(
        "--ground-truth", "--truth", type=Path, required=True, help="folder of true flows, FIRST_SECOND.flo by stamps"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument(
        "--model", type=Path, default=BUNDLED_MODEL, help="teacher to start from (default: the bundled one)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="default: 0 1")
    parser.add_argument("--only", nargs="*", metavar="VARIANT", help="run only these variants: " + "; ".join(ROWS))
    parser.add_argument("--data", type=Path, help="data sets to measure forgetting on, see training/evaluate.py")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting in all variants"
    )
    options = parser.parse_args(arguments)
    study = Study(options)
    variants = [name for name in ROWS if options.only is None or name in options.only]
    for seed in options.seeds:
        for variant in tqdm(variants, desc=f"seed {seed}", unit="variant"):
            study.run(variant, seed)
    reference = true_error(dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), study.report_pairs())
    print(f"OpenCV's DIS: {reference:.3f} px", study.table(), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
