# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Image pairs with exact flow and occlusion, each decided by a seed and a number alone."""

from __future__ import annotations

import numpy as np

from mdflow_training.synthetic.camera_effects import photograph_pair
from mdflow_training.synthetic.layers import FlowPair, render
from mdflow_training.synthetic.planar import planar_scene
from mdflow_training.synthetic.roads_and_rooms import world_scene
from mdflow_training.synthetic.textures import TextureLibrary

LARGEST_SHIFT = 0.25
"""Of the image's width: scenes of which a twentieth moves farther are drawn again."""

MOST_TRIES = 5


def synthetic_pair(
    library: TextureLibrary,
    seed: int,
    number: int,
    size: tuple[int, int],
    world_share: float = 0.35,
    effects: bool = True,
) -> FlowPair:
    """Make pair ``number`` of the endless sequence ``seed``.

    Args:
        library: textures.
        seed: names the sequence.
        number: of the pair in it; any may be asked for in any order.
        size: height and width, pixels.
        world_share: probability of a scene of planes in space instead of flat layers.
        effects: whether to add what a real camera does.

    Returns:
        Images, flow in both directions and occlusion; equal arguments give equal results.
    """
    random = np.random.default_rng([seed, number])
    scene = world_scene if random.random() < world_share else planar_scene
    for _ in range(MOST_TRIES):
        pair = render(scene(random, library, size), size)
        if np.percentile(np.abs(pair.forward[::4, ::4]), 95) < LARGEST_SHIFT * size[1]:
            break
    if not effects:
        return pair
    first, second = photograph_pair(random, pair)
    return FlowPair(first, second, pair.forward, pair.backward, pair.occluded_forward, pair.occluded_backward)
