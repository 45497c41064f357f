# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render the drive of a robot through a generated world, with ground truth for each pair of frames."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mdflow_ros.core.picture_files import opencv_path
from mdflow_ros.recordings.source import parse_source
from mdflow_training.flow_files import write_flow, write_image
from mdflow_training.synthetic.camera_effects import add_noise, motion_blur, vignette
from mdflow_training.synthetic.plane_renderer import render_flow, render_image
from mdflow_training.synthetic.worlds import WORLDS, World

SIZE = (192, 256)
"""Height and width, pixels."""

LENS_BLUR = 0.8
"""Standard deviation of the blur, pixels."""

SHUTTER = 0.25
"""Share of the time between two frames during which the shutter is open."""

DRIVES = ("moving", "parked", "covered")
FRAMES, GROUND_TRUTH, GROUND_TRUTH_OF_RECORDING = "frames", "truth", "truth_of_recording"
OWN_NAME = re.compile(r"\d{6,}\.(png|flo)|\d+_\d+\.flo")


class RobotCamera:
    """The robot's camera; it draws its noise from a seed."""

    def __init__(self, seed: int, size: tuple[int, int], world: World) -> None:
        self._world = world
        self._random = np.random.default_rng([seed, 3])
        self._shade = vignette(self._random, size)

    def photograph(self, image: NDArray[np.uint8], flow: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return ``image``, ``(H, W, 3)``, as the camera records it while it moves by ``flow``, pixels a frame."""
        blurred = motion_blur(image, np.nan_to_num(flow), SHUTTER)
        soft = cv2.GaussianBlur(blurred, (0, 0), LENS_BLUR).astype(np.float32)
        exposed = soft * self._shade * np.float32(self._world.light * (1 + 0.03 * self._random.standard_normal()))
        return np.asarray(add_noise(self._random, exposed, self._world.noise), np.uint8)


def render_world(folder: Path, frames: int, seed: int, kind: str = DRIVES[0], world: str = "warehouse") -> None:
    """Write ``frames`` images and, of each but the last, the flow to the next one.

    Args:
        folder: receives ``frames/`` and ``truth/``; an earlier world is replaced.
        frames: number of frames.
        seed: seed of scene, drive and noise.
        kind: one of `DRIVES`.
        world: one of `WORLDS`.

    Raises:
        FileExistsError: the folder has other files in the places of the world's files.
    """
    for name in (FRAMES, GROUND_TRUTH, GROUND_TRUTH_OF_RECORDING):
        remove_own_files(folder / name)
    for name in (FRAMES, GROUND_TRUTH):
        (folder / name).mkdir(parents=True)
    setting = WORLDS[world]
    scene, views = setting.build(seed), setting.drive(frames, SIZE, seed)
    camera = RobotCamera(seed, SIZE, setting)
    for number in tqdm(range(frames), desc="rendering", unit="frame", disable=None):
        now, then = (0, 0) if kind == "parked" else (number, number + 1)
        rectangles = [] if kind == "covered" else scene.rectangles(now)
        flow = np.zeros((*SIZE, 2), np.float32)
        if kind == "moving":
            flow = render_flow(rectangles, views[now], views[then], SIZE)
        image = camera.photograph(render_image(rectangles, views[now], SIZE), flow)
        write_image(folder / FRAMES / f"{number:06d}.png", image)
        if number + 1 < frames:
            write_flow(folder / GROUND_TRUTH / f"{number:06d}.flo", flow)


def remove_own_files(folder: Path) -> None:
    """Delete a folder of a world, and nothing that is not of one.

    Raises:
        FileExistsError: the folder holds something else.
    """
    others = [path for path in folder.glob("*") if not OWN_NAME.fullmatch(path.name)]
    if others:
        raise FileExistsError(f"{others[0]} is not a file of a rendered world: choose another --out")
    shutil.rmtree(folder, ignore_errors=True)


def match_recording(folder: Path, recording: str, warnings: list[str]) -> int:
    """Name the ground truth of a world by the stamps of a recording of it.

    Args:
        folder: of `render_world`; gets ``truth_of_recording/`` in place of an earlier one.
        recording: a bag of the frames, lossless and of their size, as `parse_source` names it.
        warnings: gets a line for everything of the recording that cannot be read.

    Returns:
        How many pairs of frames that follow each other were found.

    Raises:
        ValueError: the recording shows none of the frames, or cannot be read.
        OSError: the folder holds no world, or cannot be written.
    """
    numbers = {
        _digest(_read_rgb(path)): int(path.stem) for path in sorted((folder / FRAMES).glob("*.png"))
    }  # fmt: skip
    if not numbers:
        raise FileNotFoundError(f"{folder} holds no world: render one first, with the same --out and without --match")
    found: list[tuple[int | None, int]] = []
    for _, frame in parse_source(recording).frames(warnings):
        try:
            found.append((numbers.get(_digest(frame.decode())), frame.stamp))
        except ValueError as error:
            found.append((None, frame.stamp))
            warnings.append(f"the frame at {frame.stamp}: {error}")
    names = {
        f"{stamp}_{next_stamp}.flo": f"{number:06d}.flo"
        for (number, stamp), (next_number, next_stamp) in itertools.pairwise(found)
        if number is not None and next_number == number + 1
    }
    if not names:
        raise ValueError(f"{recording} shows no two frames of {folder} that follow each other: play them at full width")
    out = folder / GROUND_TRUTH_OF_RECORDING
    remove_own_files(out)
    out.mkdir()
    for name, own_name in names.items():
        shutil.copyfile(folder / GROUND_TRUTH / own_name, out / name)
    return len(names)


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(opencv_path(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read as an image: render the world again")
    return np.asarray(image[..., ::-1], np.uint8)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()
