# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Quality levels: how far the network decodes, and how the flow is refined."""

from __future__ import annotations

from dataclasses import dataclass

from mdflow_ros.core.refinement import Refinement
from mdflow_ros.core.resizing import Size, network_size, scaled_size
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_ros.model.graphs import Decoding

AUTO = "auto"


@dataclass(frozen=True)
class Quality:
    """A trade-off between speed and accuracy.

    Attributes:
        decoding: how far the network decodes.
        refinement: of the flow, see `FlowRefiner`; its scales are relative to the enlarged images.
        min_pixels: smaller images are enlarged to this many pixels, because the network's finest flow has only 1/8 or
            1/4 of their size.
        max_enlargement: largest factor by which a side is enlarged.
    """

    decoding: Decoding
    refinement: Refinement
    min_pixels: int
    max_enlargement: float

    def inference_size(self, size: Size) -> Size:
        """Return the size at which the network runs on images of ``size`` by default."""
        return network_size(scaled_size(size, self._enlargement(size)), SIZE_MULTIPLE)

    def refinement_of(self, size: Size) -> Refinement:
        """Return the refinement steps for images of ``size``, with scales relative to that size."""
        return tuple((share * self._enlargement(size), rounds) for share, rounds in self.refinement)

    def _enlargement(self, size: Size) -> float:
        wanted = (self.min_pixels / (size.width * size.height)) ** 0.5
        return min(max(wanted, 1.0), self.max_enlargement)


QUALITIES = {
    "fast": Quality(Decoding(3, 4), ((0.45, 2),), 0, 1.0),
    "balanced": Quality(Decoding(3, 4), ((0.4, 2), (0.7, 1)), 100_000, 1.5),
    "best": Quality(Decoding(2, 3), ((0.5, 2), (1.0, 1)), 123_000, 1.5),
}


def choose_quality(name: str, on_gpu: bool) -> str:
    """Return the quality level ``name``; ``auto`` means ``best`` on a GPU and ``balanced`` otherwise.

    Raises:
        ValueError: there is no such level.
    """
    if name == AUTO:
        return "best" if on_gpu else "balanced"
    if name not in QUALITIES:
        raise ValueError(f"unknown quality '{name}'; choose one of {', '.join((AUTO, *QUALITIES))}")
    return name
