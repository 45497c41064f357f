# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Generated data sets with exact flow, for measuring where no other ground truth is available.

They need no download and are the same everywhere: their textures are procedural, of a seed that training never uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mdflow_training.evaluation.flow_pairs import LoadedPair, TruePair
from mdflow_training.flow_files import Image
from mdflow_training.synthetic.pairs import synthetic_pair
from mdflow_training.synthetic.textures import TextureLibrary, procedural_library

SEED = 20_260_731
SIZE = (384, 512)
"""Height and width of the images, in pixels."""

SCENE_CLASSES = {"synthetic_planar": "flat", "synthetic_world": "space"}
"""The sets: layers that move in the image plane, and a camera that moves through a world of planes."""

DEFAULT_COUNT = 20


@dataclass(frozen=True)
class SyntheticPair:
    """Pair ``number`` of a generated set."""

    library: TextureLibrary
    number: int
    scene_class: str

    @property
    def name(self) -> str:
        """The number."""
        return f"{self.number:04d}"

    def load(self) -> LoadedPair:
        """Generate the pair, including the effects of a real camera."""
        pair = synthetic_pair(self.library, SEED, self.number, SIZE, self.scene_class)
        return LoadedPair(_rgb(pair.first), _rgb(pair.second), pair.forward, ~pair.occluded_forward)


def synthetic_sets(count: int = DEFAULT_COUNT) -> dict[str, Sequence[TruePair]]:
    """Return the generated sets, each of ``count`` pairs."""
    library = procedural_library(SEED)
    return {
        name: [SyntheticPair(library, number, scene_class) for number in range(count)]
        for name, scene_class in SCENE_CLASSES.items()
    }


def _rgb(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
