# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the floating-point type of the training."""

from __future__ import annotations

import torch

_AUTOCAST = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


def autocast_type(precision: str, device: torch.device, on_gpu: torch.dtype = torch.float16) -> torch.dtype | None:
    """Return the type of mixed precision, or None for float32.

    Args:
        precision: float32, float16, bfloat16, or auto: the fastest type that ``device`` supports in hardware.
        device: the device of the training.
        on_gpu: the type that auto chooses on a GPU.
    """
    if precision in _AUTOCAST:
        return _AUTOCAST[precision]
    if device.type == "cuda":
        return on_gpu
    # CPUs with bfloat16 in hardware train twice as fast with it; others emulate it and are eight times slower.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    supported = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return torch.bfloat16 if supported else None
