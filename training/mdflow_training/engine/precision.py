# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The floating-point type that networks are trained in."""

from __future__ import annotations

import torch

_AUTOCAST = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


def autocast_type(precision: str, device: torch.device, on_gpu: torch.dtype = torch.float16) -> torch.dtype | None:
    """Return the type of mixed precision; None is single precision.

    Args:
        precision: float32, float16, bfloat16, or auto: the fastest that ``device`` has in hardware.
        device: where the network is trained.
        on_gpu: what auto means on a GPU.
    """
    if precision in _AUTOCAST:
        return _AUTOCAST[precision]
    if device.type == "cuda":
        return on_gpu
    # CPUs that multiply bfloat16 in hardware train twice as fast in it; others emulate it, eight times slower.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    supported = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return torch.bfloat16 if supported else None
