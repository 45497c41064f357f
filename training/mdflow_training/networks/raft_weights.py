# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert RAFT checkpoints of MDFlow's and princeton's repositories to torchvision's RAFT."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

RENAMINGS = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(feature_encoder|context_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(feature_encoder|context_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(feature_encoder|context_encoder)\.conv2\.", r"\1.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.gru\.conv([zrq])\.", r"update_block.recurrent_block.convgru1.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
DUPLICATE = re.compile(r"\.layer\d\.\d\.norm3\.")
"""Names under which these checkpoints store ``downsample.1`` a second time."""


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Return whether the parameter names are those of the RAFT published by MDFlow and princeton."""
    return any(name.removeprefix("module.").startswith("fnet.") for name in state)


def to_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a RAFT, large or small, from the official names to torchvision's.

    The converted network computes exactly the same, with ``align_corners=True``. MDFlow's weights expect images minus
    the mean of the pair (``pair_mean``); princeton's expect them in [-1, 1] (``symmetric``).
    """
    converted = {}
    for name, value in state.items():
        name = name.removeprefix("module.")
        if DUPLICATE.search(name):
            continue
        for pattern, replacement in RENAMINGS:
            name = re.sub(pattern, replacement, name)
        converted[name] = value
    return converted
