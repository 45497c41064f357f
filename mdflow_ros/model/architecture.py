# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""FastFlowNet's constants and parameter shapes, shared by the torch network and the ONNX graph.

Source of every number: FastFlowNet (Kong, Shen, Yang, ICRA 2021) and its official repository, ltkong218/FastFlowNet.
"""

from __future__ import annotations

FLOW_SCALE = 20.0
"""The network predicts full-resolution pixels divided by this."""

SIZE_MULTIPLE = 64
"""Height and width of the network's input are multiples of this."""

SEARCH_RADIUS = 4
"""Largest displacement per axis of the cost volume, in pixels of its level."""

LEAKY_SLOPE = 0.1
GROUPS = 3

FINEST_LEVEL = 2
COARSEST_LEVEL = 6

RECTIFIED_CHANNELS = 32
"""Channels of the first image's features that the decoder sees beside the cost volume."""

PYRAMID_CHANNELS = {
    "pconv1_1": (3, 16),
    "pconv1_2": (16, 16),
    "pconv2_1": (16, 32),
    "pconv2_2": (32, 32),
    "pconv2_3": (32, 32),
    "pconv3_1": (32, 64),
    "pconv3_2": (64, 64),
    "pconv3_3": (64, 64),
}
"""Input and output channels of the pyramid's convolutions; those named ``*_1`` have stride 2."""

LEVEL_CHANNELS = {2: 32, 3: 64, 4: 64, 5: 64, 6: 64}
"""Channels of the features at each level; level ``l`` has stride ``2**l``."""

DECODER_CHANNELS = {
    "conv1": (87, 96),
    "conv2": (96, 96),
    "conv3": (96, 96),
    "conv4": (96, 96),
    "conv5": (96, 64),
    "conv6": (64, 32),
    "conv7": (32, 2),
}
"""Input and output channels of a decoder's convolutions; ``conv2`` to ``conv4`` have `GROUPS` groups."""

GROUPED = ("conv2", "conv3", "conv4")


def kept_displacements() -> list[tuple[int, int]]:
    """Return the 53 displacements ``(dx, dy)`` of the center-dense dilated correlation, in official order.

    Dense up to 2 pixels, a checkerboard beyond; rows of equal ``dy`` first (FastFlowNet, section III-B).
    """
    reach = range(-SEARCH_RADIUS, SEARCH_RADIUS + 1)
    return [(dx, dy) for dy in reach for dx in reach if (dx + dy) % 2 == 0 or max(abs(dx), abs(dy)) <= 2]


def warp_scale(level: int) -> float:
    """Return the factor from the network's flow units to pixels of ``level``."""
    return FLOW_SCALE / 2**level


def parameter_shapes() -> dict[str, tuple[int, ...]]:
    """Return the 104 official parameter names with their shapes."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, channels: tuple[int, int], groups: int = 1) -> None:
        inputs, outputs = channels
        shapes[f"{name}.weight"] = (outputs, inputs // groups, 3, 3)
        shapes[f"{name}.bias"] = (outputs,)

    for name, channels in PYRAMID_CHANNELS.items():
        convolution(f"{name}.0", channels)
    for level in range(FINEST_LEVEL, COARSEST_LEVEL + 1):
        convolution(f"rconv{level}.0", (LEVEL_CHANNELS[level], RECTIFIED_CHANNELS))
    for level in range(FINEST_LEVEL + 1, COARSEST_LEVEL + 1):
        shapes[f"up{level}.weight"] = (2, 2, 4, 4)
        shapes[f"up{level}.bias"] = (2,)
    for level in range(FINEST_LEVEL, COARSEST_LEVEL + 1):
        for name, channels in DECODER_CHANNELS.items():
            suffix = "" if name == "conv7" else ".0"
            convolution(f"decoder{level}.{name}{suffix}", channels, GROUPS if name in GROUPED else 1)
    return shapes
