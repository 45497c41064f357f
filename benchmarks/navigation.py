# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the consumers of the flow on rendered worlds with the bundled model, and draw the docs' pictures.

python benchmarks/navigation.py [--pictures docs/navigation]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.allocator import keep_freed_memory
from mdflow_ros.core.flow_color import ColorScale, confidence_to_color, draw_arrows, flow_to_color
from mdflow_ros.core.picture_files import write_picture
from mdflow_ros.core.resizing import size_of
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.navigation.depth_from_motion import DepthEstimate, DepthLimits, depth_from_motion
from mdflow_ros.navigation.downward_motion import DOWNWARD_LOOKING, ground_motion, ground_twist
from mdflow_ros.navigation.flow_points import flow_points
from mdflow_ros.navigation.matches import Matches, match
from mdflow_ros.navigation.moving_objects import MovingLimits, moving_objects, static_residual
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion, rotation_from_vector, rotation_of
from mdflow_ros.navigation.self_motion import self_motion
from mdflow_ros.navigation.time_to_contact import Sectors, time_to_contact
from mdflow_training.synthetic.navigation_world import (
    Step,
    approach_step,
    carton,
    carton_texture,
    crossing_step,
    downward_step,
    forward_view,
    hall_step,
    open_hall,
    render_step,
)

TRANSLATION_SIGMA, ROTATION_SIGMA = 0.02, float(np.deg2rad(0.2))
MIN_CONFIDENCE, MIN_DEPTH, STRIDE, INTERVAL = 0.5, 0.3, 2, 0.1
YELLOW = (255, 255, 0)


class Measured:
    """The bundled model's flow and confidence on rendered steps."""

    def __init__(self) -> None:
        self.estimator = FlowEstimator(backend="auto")

    def __call__(self, step: Step) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the flow ``(H, W, 2)`` in pixels and its confidence ``(H, W)``, a probability."""
        estimate = self.estimator.estimate(*step.images)
        assert estimate.confidence is not None
        return estimate.flow, estimate.confidence

    def matches(self, step: Step) -> Matches:
        """Return the matches of a step."""
        return match(*self(step), camera_of(step), STRIDE)


def camera_of(step: Step) -> Camera:
    """Return the camera of a step."""
    return Camera(size_of(step.depth), step.intrinsics, np.zeros(0))


def odometry(step: Step, random: np.random.Generator | None) -> CameraMotion:
    """Return the camera's motion, with the noise of odometry unless ``random`` is ``None``."""
    motion = RigidMotion(step.rotation, step.translation)
    if random is not None:
        noise = random.normal(0, TRANSLATION_SIGMA, 3) * float(np.linalg.norm(step.translation))
        motion = RigidMotion(
            rotation_from_vector(random.normal(0, ROTATION_SIGMA, 3)) @ step.rotation, step.translation + noise
        )
    return CameraMotion.with_sigmas(motion, TRANSLATION_SIGMA, ROTATION_SIGMA)


def newer_ground_truth(step: Step, matches: Matches) -> NDArray[np.float64]:
    """Return the true depth of the matches in the newer camera."""
    depth = step.depth[::STRIDE, ::STRIDE]
    older = np.concatenate((matches.older * depth[..., None], depth[..., None]), axis=-1)
    return np.asarray((older @ step.rotation.T + step.translation)[..., 2])


def measure_depth(measured: Measured, frames: range, noisy: bool) -> None:
    """Print the accuracy of depth_from_motion on the warehouse drive."""
    random = np.random.default_rng(0)
    relative, in_sigmas, coverage = [], [], []
    for frame in frames:
        step = hall_step(frame)
        matches = measured.matches(step)
        found: DepthEstimate = depth_from_motion(matches, odometry(step, random if noisy else None), DepthLimits())
        ground_truth = newer_ground_truth(step, matches)
        known = np.isfinite(found.depth) & (ground_truth > 0.5) & (ground_truth < 10)
        error = (found.depth - ground_truth)[known]
        relative.append(np.abs(error) / ground_truth[known])
        in_sigmas.append(np.abs(error) / found.sigma[known])
        coverage.append(np.isfinite(found.depth).mean())
    errors, sigmas = np.concatenate(relative), np.concatenate(in_sigmas)
    print(
        f"depth_from_motion, {'noisy' if noisy else 'true'} odometry: median error {np.median(errors):.1%}, "
        f"within 20 % {np.mean(errors <= 0.2):.1%}, coverage {np.mean(coverage):.1%} (least {min(coverage):.1%}), "
        f"within one sigma {np.mean(sigmas <= 1):.1%}"
    )


def find_moving(step: Step, matches: Matches, random: np.random.Generator | None) -> tuple:
    """Return normalized residual, mask and objects; with odometry if ``random`` is given, else by the flow alone."""
    motion = None if random is None else odometry(step, random)
    off = static_residual(matches, motion, MIN_DEPTH, MIN_CONFIDENCE)
    if off is None:
        off = np.zeros(matches.confidence.shape, np.float32)
    return off, *moving_objects(matches, off, camera_of(step).size, MovingLimits())


def measure_moving(measured: Measured, name: str, steps: list[Step]) -> None:
    """Print precision and recall of moving_objects, by pixels, and how many views show an object."""
    found = [(step, measured.matches(step)) for step in steps]
    for source, random in (("odometry", np.random.default_rng(0)), ("the flow alone", None)):
        hits = seen = true = views = 0
        for step, matches in found:
            mask = find_moving(step, matches, random)[1] > 0
            hits += int((mask & step.newer_moving).sum())
            seen, true, views = seen + int(mask.sum()), true + int(step.newer_moving.sum()), views + int(mask.any())
        rates = f"precision {hits / max(seen, 1):.2f}, recall {hits / true:.2f}, " if true else ""
        print(f"moving_objects, {name}, {source}: {rates}objects in {views} of {len(steps)} views")


def measure_turning(measured: Measured) -> None:
    """Print what moving_objects finds while the camera turns on the spot, in halls with and without moving cartons."""
    for yaw in (0.01, 0.03, 0.06, 0.1):
        halls = [turning_step(seed, yaw if seed % 2 else -yaw) for seed in range(10)]
        measure_moving(measured, f"nothing moves, turns by {yaw} rad", halls)
    steps = [crossing_step(seed, speed=0.0, max_turn=0.1) for seed in range(12)]
    measure_moving(measured, "turns by up to 0.1 rad", steps)


def turning_step(seed: int, yaw: float) -> Step:
    """Return a step of a camera that turns on the spot by ``yaw``, radians, in a hall where nothing moves."""
    random = np.random.default_rng([seed, 5])
    hall, texture = open_hall(random), carton_texture(random)
    for side in (-1, 1):
        hall += carton((side * random.uniform(0.8, 1.6), random.uniform(2.0, 4.0)), texture)
    size = (256, 320)
    return render_step(hall, hall, (forward_view(size), forward_view(size, yaw=yaw)), size, seed)


def contact_of(step: Step, matches: Matches) -> NDArray[np.float64]:
    """Return the time to contact of each sector, in seconds."""
    found = self_motion(matches, MIN_CONFIDENCE)
    rotation = found.camera.motion.rotation if found else np.eye(3)
    return time_to_contact(matches, rotation, INTERVAL, Sectors()).seconds[0]


def measure_contact(measured: Measured) -> None:
    """Print the time to contact of approaches at known speed."""
    for distance, yaw in ((3.0, 0.0), (2.0, 0.0), (1.0, 0.0), (2.0, 0.02)):
        step = approach_step(distance, 0.1, yaw)
        seconds = contact_of(step, measured.matches(step))
        print(f"time_to_contact, {distance:.1f} s, yaw {yaw:.2f} rad: median {np.median(seconds):.2f} s, sectors",
              " ".join(f"{value:.2f}" for value in seconds))  # fmt: skip


def measure_downward(measured: Measured) -> None:
    """Print the twist and the quality over floors with and without texture."""
    mount = rotation_of(np.array(DOWNWARD_LOOKING[3:]))
    for textured in (True, False):
        step = downward_step(1.0, (0.03, 0.01, 0), textured=textured)
        ground = ground_motion(measured.matches(step), MIN_CONFIDENCE)
        if ground is None:
            print(f"px4_optical_flow, texture {textured}: quality 0")
            continue
        twist = ground_twist(ground, 1.0, 0.0, INTERVAL, mount, np.zeros(3), None)
        print(f"px4_optical_flow, texture {textured}: quality {ground.quality:.2f}, velocity {twist.linear.round(3)}, "
              "true [0.3 0.1 0] m/s")  # fmt: skip


def measure_cost(measured: Measured) -> None:
    """Print the least CPU time of each consumer and its share of the model's, without sending messages.

    Freed memory is kept, as the nodes keep it.
    """
    keep_freed_memory()
    step = crossing_step(0)
    flow, confidence = measured(step)
    camera, noise = camera_of(step), np.random.default_rng(0)

    def matches() -> Matches:
        return match(flow, confidence, camera, STRIDE)

    consumers: dict[str, Callable[[], object]] = {
        "depth_from_motion": lambda: depth_from_motion(matches(), odometry(step, None), DepthLimits()),
        "moving_objects": lambda: find_moving(step, matches(), None),
        "moving_objects, odometry": lambda: find_moving(step, matches(), noise),
        "time_to_contact": lambda: contact_of(step, matches()),
        "px4_optical_flow": lambda: ground_motion(matches(), MIN_CONFIDENCE),
        "flow_points": lambda: flow_points(flow, confidence, 500, 8),
    }
    engine = measured.estimator.backend
    model = min(cost(lambda: measured(step)) for _ in range(10))
    for name, work in consumers.items():
        spent = min(cost(work) for _ in range(40))
        print(f"{name}: {spent * 1e3:.1f} ms, {spent / model:.1%} of the {model * 1e3:.0f} ms of the model on {engine}")


def cost(work: Callable[[], object]) -> float:
    """Return the CPU time of a call, seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def colored(field: NDArray, low: float, high: float) -> NDArray[np.uint8]:
    """Return a field as colors at the size of the images, black where the field is NaN."""
    scaled = np.clip((np.nan_to_num(field, nan=low) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    picture[~np.isfinite(field)] = 0
    return np.asarray(cv2.resize(picture, (320, 256), interpolation=cv2.INTER_NEAREST), np.uint8)


def draw(measured: Measured, folder: Path) -> None:
    """Write the pictures of the docs."""
    step = hall_step(10)
    matches = measured.matches(step)
    found = depth_from_motion(matches, odometry(step, np.random.default_rng(0)), DepthLimits())
    save(folder / "depth_from_motion.jpg", step.images[0], colored(found.depth, 0.5, 6),
         colored(found.sigma / found.depth, 0, 0.15), colored(newer_ground_truth(step, matches), 0.5, 6))  # fmt: skip

    step = crossing_step(3)
    matches = measured.matches(step)
    off, mask, objects = find_moving(step, matches, None)
    image = step.images[1].copy()
    for box in objects:
        corner = (box.left + box.width, box.top + box.height)
        cv2.rectangle(image, (box.left, box.top), corner, YELLOW, 2)
    save(folder / "moving_objects.jpg", image, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), colored(off, 0, 12))

    step = approach_step(2.0, 0.1)
    image, sectors = step.images[1].copy(), Sectors()
    width, top, bottom = 320 // sectors.columns, round(256 * sectors.top), round(256 * sectors.bottom)
    for number, seconds in enumerate(contact_of(step, measured.matches(step))):
        left = width * number
        cv2.rectangle(image, (left, top), (left + width - 1, bottom), YELLOW, 1)
        cv2.putText(image, f"{seconds:.1f}", (left + 3, 112), cv2.FONT_HERSHEY_SIMPLEX, 0.3, YELLOW, 1)
    save(folder / "time_to_contact.jpg", image)

    step = downward_step(1.0, (0.06, 0.03, 0))
    ground = ground_motion(measured.matches(step), MIN_CONFIDENCE)
    image = step.images[1].copy()
    if ground is not None:
        end = (np.array([160, 128]) + ground.shift * 224 * 4).astype(int)
        cv2.arrowedLine(image, (160, 128), (int(end[0]), int(end[1])), YELLOW, 2)
    save(folder / "px4_optical_flow.jpg", image)

    step = hall_step(10)
    image = step.images[0].copy()
    for x, y, u, v, _ in flow_points(*measured(step), 300, 16):
        cv2.arrowedLine(image, (int(x), int(y)), (round(x + u), round(y + v)), YELLOW, 1, cv2.LINE_AA)
    save(folder / "flow_points.jpg", image)
    flow, confidence = measured(step)
    view = draw_arrows(flow_to_color(flow, ColorScale().follow(flow)), flow, 24)
    save(folder / "flow_view.jpg", view, confidence_to_color(confidence))


def save(path: Path, *pictures: NDArray[np.uint8]) -> None:
    """Write pictures side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, np.hstack(pictures), jpeg_quality=85)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder for the pictures")
    arguments = parser.parse_args()
    measured = Measured()
    for noisy in (False, True):
        measure_depth(measured, range(0, 220, 11), noisy)
    measure_moving(measured, "drives", [crossing_step(seed) for seed in range(12)])
    measure_turning(measured)
    measure_contact(measured)
    measure_downward(measured)
    measure_cost(measured)
    if arguments.pictures:
        draw(measured, arguments.pictures)


if __name__ == "__main__":
    main()
