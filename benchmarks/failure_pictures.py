# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Draw cases that are hard for a model, with ground truth, error and confidence: the picture in docs/model_card.md.

    python benchmarks/failure_pictures.py --out docs/failures.jpg

All images are generated, so no license restricts them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.flow_color import confidence_to_color, flow_to_color
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.evaluation.pictures import error_to_color, with_caption
from mdflow_training.flow_files import Image, write_image
from mdflow_training.synthetic.camera_effects import add_noise
from mdflow_training.synthetic.layers import Layer, render
from mdflow_training.synthetic.planar import photograph_patch, thin_structure, translation
from mdflow_training.synthetic.plane_renderer import render_flow, render_image
from mdflow_training.synthetic.render_drive import RobotCamera
from mdflow_training.synthetic.textures import procedural_library
from mdflow_training.synthetic.warehouse import Warehouse, drive
from mdflow_training.synthetic.worlds import WORLDS

SIZE = (192, 256)
TURNING_FRAME = 66
"""The frame of the robot's drive where it turns its first corner."""

Scene = tuple[Image, Image, NDArray[np.float32]]
"""Both images, RGB ``(H, W, 3)``, and the true flow ``(H, W, 2)`` in pixels."""


def _flat(layers: list[Layer], noise: float = 2.0) -> Scene:
    random = np.random.default_rng(1)
    pair = render(layers, SIZE)
    first, second = (add_noise(random, image, noise)[..., ::-1].copy() for image in (pair.first, pair.second))
    return first, second, pair.forward


def _photograph(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return photograph_patch(np.random.default_rng(seed), procedural_library(7, 12, 512), height, width)


def fast_object() -> Scene:
    """Return an object of 60 by 90 px that moves 40 px in front of a resting background."""
    card = _photograph(3, 60, 90)
    alpha = np.full(card.shape[:2], 255, np.uint8)
    background = Layer(_photograph(4, 220, 300), None, translation(-20, -10), translation(-20, -10))
    return _flat([background, Layer(card, alpha, translation(60, 70), translation(100, 70))])


def thin_wires() -> Scene:
    """Return wires that move 8 px against a background that moves 8 px in the opposite direction."""
    alpha = thin_structure(np.random.default_rng(12), 180)
    wires = Layer(_photograph(5, 180, 180), alpha, translation(40, 5), translation(48, 5))
    return _flat([Layer(_photograph(6, 220, 320), None, translation(-20, -10), translation(-28, -10)), wires])


def repeating_pattern() -> Scene:
    """Return stripes with a period of 24 px that move 14 px, which looks like 10 px in the opposite direction."""
    x = np.arange(360)
    stripes = np.repeat((60 + 140 * (x % 24 < 12)).astype(np.uint8)[None], 240, axis=0)
    return _flat([Layer(np.repeat(stripes[..., None], 3, axis=2), None, translation(-40, 0), translation(-26, 0))])


def blank_wall() -> Scene:
    """Return a wall without texture that moves 6 px, with a picture on it."""
    wall = np.full((240, 320, 3), 120, np.uint8)
    wall[90:140, 60:120] = _photograph(8, 50, 60)
    return _flat([Layer(wall, None, translation(-20, -10), translation(-14, -10))])


def dark_turn() -> Scene:
    """Return a robot's view of a dim hall while it turns."""
    hall, views = Warehouse(0), drive(TURNING_FRAME + 1, SIZE, 0)
    frames = (TURNING_FRAME, TURNING_FRAME + 1)
    flow = render_flow(hall.rectangles(TURNING_FRAME), views[TURNING_FRAME], views[TURNING_FRAME + 1], SIZE)
    camera = RobotCamera(0, SIZE, WORLDS["warehouse"])
    first, second = (
        camera.photograph(render_image(hall.rectangles(frame), views[frame], SIZE), flow) for frame in frames
    )
    return first, second, flow


SCENES: dict[str, Callable[[], Scene]] = {
    "fast object, resting background": fast_object,
    "thin wires": thin_wires,
    "repeating pattern": repeating_pattern,
    "wall without texture": blank_wall,
    "dark, noisy, turning": dark_turn,
}


def draw_row(title: str, scene: Scene, estimator: FlowEstimator) -> Image:
    """Draw the first image, the estimated flow, the true flow, the error and the confidence side by side."""
    first, second, ground_truth = scene
    estimate = estimator.estimate(first, second)
    assert estimate.confidence is not None
    error = endpoint_error(estimate.flow, ground_truth)
    scale = max(1.0, float(np.nanmax(np.hypot(ground_truth[..., 0], ground_truth[..., 1]))))
    tiles = (
        (title, first),
        ("estimated flow", flow_to_color(estimate.flow, scale)),
        (f"true flow, up to {scale:.0f} px", flow_to_color(ground_truth, scale)),
        (f"error, mean {np.nanmean(error):.2f} px", error_to_color(error)),
        ("confidence", confidence_to_color(estimate.confidence)),
    )
    return np.hstack([with_caption(*tile) for tile in tiles])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="default: the bundled model")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    options = parser.parse_args(arguments)
    estimator = FlowEstimator(options.model, "onnxruntime")
    rows = [draw_row(title, scene(), estimator) for title, scene in SCENES.items()]
    write_image(options.out, np.vstack(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
