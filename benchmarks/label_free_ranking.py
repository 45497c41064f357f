# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure whether the label-free metrics rank flows as the true error does, and how trivial flows score.

    python benchmarks/label_free_ranking.py --count 12

The methods run on generated scenes. They are the bundled teacher; the teacher with its flow disturbed, damped and
smoothed; OpenCV's methods; zero flow; one motion for the whole image; and over-smooth flow. In every scene, every two
methods are compared: ``agreement`` is the share of these comparisons in which a metric prefers the method with the
lower endpoint error. Comparisons of methods whose errors differ by less than 10 % are left out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable

import cv2
import numpy as np
import torch

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_training.evaluation.baselines import create_baselines
from mdflow_training.flow_files import Flow, Image
from mdflow_training.judging.camera_noise import measure_noise
from mdflow_training.judging.held_out_metrics import Metrics, mean_metrics, measure_methods
from mdflow_training.judging.measures import MEASURES
from mdflow_training.judging.two_way_flow import TwoWayFlow, TwoWayMethod, baseline_method, two_way_model_method
from mdflow_training.losses.census import Census
from mdflow_training.synthetic.layers import FlowPair
from mdflow_training.synthetic.pairs import synthetic_pair
from mdflow_training.synthetic.textures import procedural_library

SEED = 20_261_122
MIN_DIFFERENCE = 0.1
"""Endpoint errors count as equal if they differ by a smaller share."""

LABEL_FREE = ("match_error", "census_visible", "disagreement", "extrapolation", "consistency")


def changed(method: TwoWayMethod, change: Callable[[Flow], Flow]) -> TwoWayMethod:
    """Return a method that applies ``change`` to both flows of ``method``."""

    def estimate(first: Image, second: Image) -> TwoWayFlow:
        flow = method(first, second)
        return TwoWayFlow(change(flow.forward), change(flow.backward))

    return estimate


def disturbed(strength: float) -> Callable[[Flow], Flow]:
    """Return a change that adds smooth random motion with this standard deviation in pixels, different in each call."""
    random = np.random.default_rng(0)

    def change(flow: Flow) -> Flow:
        height, width = flow.shape[:2]
        coarse = random.normal(scale=strength, size=(height // 16, width // 16, 2)).astype(np.float32)
        return flow + np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)

    return change


def smoothed(sigma: float) -> Callable[[Flow], Flow]:
    """Return a change that blurs flow with this standard deviation in pixels."""
    return lambda flow: np.asarray(cv2.GaussianBlur(flow, (0, 0), sigma), np.float32)


def methods_to_rank() -> dict[str, TwoWayMethod]:
    """Return the methods to rank, by name."""
    teacher = two_way_model_method(BUNDLED_MODEL)
    changes: dict[str, Callable[[Flow], Flow]] = {
        "teacher, disturbed by 0.5 px": disturbed(0.5),
        "teacher, disturbed by 2 px": disturbed(2),
        "teacher, disturbed by 8 px": disturbed(8),
        "teacher, 0.8 of its length": lambda flow: np.float32(0.8) * flow,
        "teacher, half its length": lambda flow: np.float32(0.5) * flow,
        "teacher, smoothed by 8 px": smoothed(8),
        "over-smooth: by 64 px": smoothed(64),
        "one motion everywhere": lambda flow: np.zeros_like(flow) + flow.mean(axis=(0, 1)),
    }
    methods = {"teacher": teacher} | {name: changed(teacher, change) for name, change in changes.items()}
    return methods | {name: baseline_method(baseline) for name, baseline in create_baselines().items()}


def agreement(metrics: dict[str, Metrics], measure: str) -> float:
    """Return the share of pairs of methods that ``measure`` ranks as the endpoint error does, over all scenes."""
    right, total = 0, 0
    sign = 1 if MEASURES[measure].lower_is_better else -1
    for one, other in itertools.combinations(metrics.values(), 2):
        gap = one["epe"] - other["epe"]
        meaningful = np.abs(gap) > MIN_DIFFERENCE * np.maximum(one["epe"], other["epe"])
        same = np.sign(one[measure] - other[measure]) * sign == np.sign(gap)
        right += int((same & meaningful).sum())
        total += int(meaningful.sum())
    return right / total if total else np.nan


def find_scenes(count: int, size: tuple[int, int], largest_shift: float, effects: bool) -> list[FlowPair]:
    """Return generated scenes that move, but by no more than the share ``largest_shift`` of the width."""
    library, scenes = procedural_library(SEED), []
    for number in itertools.count():
        scene = synthetic_pair(library, SEED, number, size, effects=effects)
        length = np.hypot(scene.forward[..., 0], scene.forward[..., 1])
        if np.percentile(length, 95) < largest_shift * size[1] and np.percentile(length, 50) > 1:
            scenes.append(scene)
            if len(scenes) == count:
                break
    return scenes


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=12, help="number of scenes (default: %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 384), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--largest-shift",
        type=float,
        default=0.05,
        help="use scenes in which 95 %% of the pixels move by less than this share of the width (default: "
        "%(default)s); with larger motion, all methods fail, so a ranking means nothing",
    )
    parser.add_argument(
        "--no-effects", action="store_true", help="leave out the camera model: blur, noise, exposure and so on"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    size = (options.size[0], options.size[1])
    scenes = find_scenes(options.count, size, options.largest_shift, not options.no_effects)
    pairs = [(scene.first[..., ::-1].copy(), scene.second[..., ::-1].copy()) for scene in scenes]
    noise = measure_noise(pairs, Size(size[1], size[0]))
    methods = methods_to_rank()
    metrics = measure_methods(
        methods, pairs, range(len(pairs)), Census.for_noise(noise), lambda index: scenes[index].forward
    )
    names = ("epe", *LABEL_FREE)
    scenes_line = f"{options.count} scenes of {size[1]}x{size[0]}, noise of {noise:.1f} intensity levels"
    print(f"{scenes_line}: {Census.for_noise(noise)}")
    print("".join([f"{'method':<30}", *(f"{name:>16}" for name in names)]))
    means = {name: mean_metrics(of_method) for name, of_method in metrics.items()}
    for name in sorted(means, key=lambda name: means[name]["epe"]):
        print("".join([f"{name:<30}", *(f"{means[name][measure]:>16.4f}" for measure in names)]))
    shares = "".join(f"{agreement(metrics, measure):>16.1%}" for measure in LABEL_FREE)
    print(f"{'agreement with the true error':<30}{'':>16}{shares}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
