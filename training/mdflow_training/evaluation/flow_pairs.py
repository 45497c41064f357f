# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Two images and the ground truth of the flow between them: as files, and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.intensity import IntensityStretch
from mdflow_training.flow_files import (
    BadFile,
    Flow,
    Image,
    Mask,
    known_pixels,
    read_flow,
    read_image,
    read_mask,
)

Array = TypeVar("Array", bound=NDArray)


@dataclass(frozen=True)
class LoadedPair:
    """Two images and the ground truth of the flow between them.

    Attributes:
        first: ``(H, W, 3)`` uint8 RGB.
        second: the newer image, same shape.
        ground_truth: ``(H, W, 2)`` float32 in pixels, NaN where it is unknown.
        visible: ``(H, W)`` bool, the pixels of ``first`` that ``second`` shows too; ``None`` if that is unknown.
    """

    first: Image
    second: Image
    ground_truth: Flow
    visible: Mask | None = None


class TruePair(Protocol):
    """A pair with ground truth, from files or from a generator."""

    @property
    def name(self) -> str:
        """A name that is unique within its set."""
        ...

    def load(self) -> LoadedPair:
        """Read or make the pair.

        Raises:
            OSError: a file cannot be opened; the error names it.
            ValueError: the content of a file is invalid; the message names the file.
        """
        ...


@dataclass(frozen=True)
class PairFiles:
    """A pair on disk.

    Attributes:
        name: unique within its set.
        first: image.
        second: image.
        ground_truth: flow file.
        visible_ground_truth: flow file with only the pixels visible in the second image (KITTI's ``flow_noc``).
        occlusion: mask of pixels hidden in the second image (MPI Sintel's ``occlusions``).
        invalid: mask of pixels to ignore (MPI Sintel's ``invalid``).
    """

    name: str
    first: Path
    second: Path
    ground_truth: Path
    visible_ground_truth: Path | None = None
    occlusion: Path | None = None
    invalid: Path | None = None

    def load(self) -> LoadedPair:
        """Read the files; see `TruePair.load`. All have to be of the first image's size."""
        first, second = self._read_images()

        def of_same_size(path: Path, array: Array) -> Array:
            if array.shape[:2] != first.shape[:2]:
                (height, width), (own_height, own_width) = first.shape[:2], array.shape[:2]
                raise BadFile(path, f"{own_width}x{own_height}, but {self.first} has {width}x{height}")
            return array

        of_same_size(self.second, second)
        ground_truth = of_same_size(self.ground_truth, read_flow(self.ground_truth))
        visible: Mask | None = None
        if self.visible_ground_truth:
            visible = known_pixels(of_same_size(self.visible_ground_truth, read_flow(self.visible_ground_truth)))
        elif self.occlusion:
            visible = ~of_same_size(self.occlusion, read_mask(self.occlusion))
        if self.invalid:
            ground_truth[of_same_size(self.invalid, read_mask(self.invalid))] = np.nan
        if not known_pixels(ground_truth).any():
            raise BadFile(self.ground_truth, "the flow is unknown at every pixel")
        return LoadedPair(first, second, ground_truth, visible)

    def _read_images(self) -> tuple[Image, Image]:
        """Read both images, those of more than 8 bits by one range of intensities: a change of light stays one."""
        stretch = IntensityStretch()
        first, first_range = read_image(self.first, stretch), stretch.range
        second, second_range = read_image(self.second, stretch), stretch.range
        if first_range is None or second_range is None or first_range == second_range:
            return first, second
        lows, highs = zip(first_range, second_range, strict=True)
        both = IntensityStretch((min(lows), max(highs)))
        return read_image(self.first, both), read_image(self.second, both)
