# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Image pairs with exact flow and occlusion; a seed and a number determine each pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mdflow_training.synthetic import hard_scenes
from mdflow_training.synthetic.camera_effects import USUAL, Conditions, photograph_pair
from mdflow_training.synthetic.layers import FlowPair, Layer, render
from mdflow_training.synthetic.planar import crowded_scene, planar_scene
from mdflow_training.synthetic.roads_and_rooms import driving_scene, world_scene
from mdflow_training.synthetic.solid_renderer import render_solids
from mdflow_training.synthetic.solid_scenes import solid_scene
from mdflow_training.synthetic.textures import TextureLibrary
from mdflow_training.synthetic.traffic import traffic_scene

MAX_DRAWS = 5

Draw = Callable[[np.random.Generator, TextureLibrary, tuple[int, int]], Any]


@dataclass(frozen=True)
class SceneClass:
    """One kind of pair.

    Attributes:
        draw: decides a scene; from a random generator, textures, and height and width in pixels.
        conditions: of the camera.
        share: of the default mixture.
        max_shift: as a fraction of the width; a scene is drawn again if more than a twentieth of its
            values of u and v are larger.
        render: makes the pair of such a scene, in images of this height and width in pixels.
    """

    draw: Draw
    conditions: Conditions = USUAL
    share: float = 1.0
    max_shift: float = 0.25
    render: Callable[[Any, tuple[int, int]], FlowPair] = render


def flat_or_space(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a flat scene or one in space, for classes that differ only in the camera's conditions."""
    return (world_scene if random.random() < 0.5 else planar_scene)(random, library, size)


SCENE_CLASSES: Mapping[str, SceneClass] = {
    "flat": SceneClass(planar_scene, share=0.12),
    "crowded": SceneClass(crowded_scene, share=0.07),
    "space": SceneClass(world_scene, share=0.12),
    "solid": SceneClass(solid_scene, share=0.14, render=render_solids),
    "fast": SceneClass(hard_scenes.fast_objects, share=0.10, max_shift=0.4),
    "driving": SceneClass(driving_scene, share=0.10, max_shift=0.4),
    "traffic": SceneClass(traffic_scene, share=0.12, render=render_solids),
    "thin": SceneClass(hard_scenes.thin_objects, share=0.04),
    "repeated": SceneClass(hard_scenes.repeated_patterns, share=0.03),
    "bare": SceneClass(hard_scenes.bare_walls, share=0.04),
    "still": SceneClass(hard_scenes.still_scene, Conditions(noise=0.9, noise_sigma=6.0, blur=0), share=0.04),
    "zoom": SceneClass(hard_scenes.zooming_camera, share=0.02),
    "bending": SceneClass(hard_scenes.bending_objects, share=0.02),
    "rolling_shutter": SceneClass(hard_scenes.rolling_shutter, share=0.01),
    "low_light": SceneClass(flat_or_space, Conditions(dark=1.0), share=0.01),
    "exposure": SceneClass(flat_or_space, Conditions(exposure_change=0.3), share=0.01),
    "weather": SceneClass(flat_or_space, Conditions(fog=0.6, precipitation=0.6), share=0.01),
}
"""Each class has its own validation error."""

EMBREE_CLASSES = frozenset(name for name, kind in SCENE_CLASSES.items() if kind.render is render_solids)
"""The classes that can be rendered on x86-64 alone; see `require_embree`."""

MIXTURE: Mapping[str, float] = {name: kind.share for name, kind in SCENE_CLASSES.items()}
"""Shares of the classes in training; they add up to one."""


def choose_class(seed: int, number: int, mixture: Mapping[str, float] = MIXTURE) -> str:
    """Return the class of pair ``number`` of the sequence ``seed``; ``mixture`` holds relative shares."""
    shares = np.array(list(mixture.values()), float)
    random = np.random.default_rng([seed, number, 0xC1A55])
    return list(mixture)[int(random.choice(len(shares), p=shares / shares.sum()))]


def render_pair(
    library: TextureLibrary, seed: int, number: int, size: tuple[int, int], scene_class: str = "flat"
) -> FlowPair:
    """Render pair ``number`` of the sequence ``seed`` as an ideal camera sees it.

    Args:
        library: textures.
        seed: names the sequence.
        number: of the pair in it; any may be asked for in any order.
        size: height and width, pixels.
        scene_class: one of `SCENE_CLASSES`.

    Returns:
        Images, flow in both directions and occlusion; equal arguments give equal results.
    """
    kind = SCENE_CLASSES[scene_class]
    random = np.random.default_rng([seed, number])
    for _ in range(MAX_DRAWS):
        pair = kind.render(kind.draw(random, library, size), size)
        if np.percentile(np.abs(pair.forward[::4, ::4]), 95) < kind.max_shift * size[1]:
            break
    return pair


def record_pair(pair: FlowPair, seed: int, number: int, scene_class: str, take: int = 0) -> FlowPair:
    """Return ``pair`` as a real camera records it under its class's conditions; each ``take`` differs."""
    random = np.random.default_rng([seed, number, take, 0xCA3E4A])
    first, second = photograph_pair(random, pair, SCENE_CLASSES[scene_class].conditions)
    return replace(pair, first=first, second=second)


def synthetic_pair(
    library: TextureLibrary,
    seed: int,
    number: int,
    size: tuple[int, int],
    scene_class: str = "flat",
    effects: bool = True,
) -> FlowPair:
    """Render pair ``number`` and, with ``effects``, record it; see `render_pair` and `record_pair`."""
    pair = render_pair(library, seed, number, size, scene_class)
    return record_pair(pair, seed, number, scene_class) if effects else pair


def mirror_pair(pair: FlowPair, horizontally: bool, vertically: bool) -> FlowPair:
    """Return ``pair`` mirrored left to right, top to bottom, or both (turned by half a circle)."""
    rows, columns = slice(None, None, -1 if vertically else 1), slice(None, None, -1 if horizontally else 1)
    signs = np.array([-1 if horizontally else 1, -1 if vertically else 1], np.float32)
    images = {name: getattr(pair, name)[rows, columns].copy() for name in ("first", "second")}
    flows = {name: getattr(pair, name)[rows, columns] * signs for name in ("forward", "backward")}
    occlusions = {name: getattr(pair, name)[rows, columns].copy() for name in ("occluded_forward", "occluded_backward")}
    return FlowPair(**images, **flows, **occlusions)
