# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Random numbers that depend only on their purpose, not on earlier draws.

Each draw of a run uses a new generator, seeded with the run's seed and the purpose of the draw. A resumed run therefore
needs no stored random state, and several processes that share a batch draw the same numbers as a single process.
"""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*purpose: int | str) -> int:
    """Return a seed in [0, 2^63) for this purpose, such as ``(7, "stage1", "augmentation", 12)``."""
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(*purpose: int | str) -> torch.Generator:
    """Return a generator, on the CPU, for this purpose."""
    return torch.Generator().manual_seed(derive_seed(*purpose))
