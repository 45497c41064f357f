# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How the C library manages the memory of images and flows. Does nothing where the C library is not glibc."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

MAX_ARENA_BLOCK = 32 << 20
"""Larger blocks are returned to the system, bytes; the most that glibc allows."""

KEPT = 64 << 20
"""Free memory that is kept for later, bytes."""

ARENAS = 2
"""Arenas that all threads share."""


def keep_freed_memory() -> None:
    """Keep the memory of images and flows that are freed, instead of returning it to the system.

    Each new page of the system costs a page fault. In a virtual machine, those of a flow of 640x480 cost a
    subscriber 4.5 ms, and all else that rclpy does to receive it 1.3 ms.
    """
    _set(_M_MMAP_THRESHOLD, MAX_ARENA_BLOCK)
    _set(_M_TRIM_THRESHOLD, KEPT)


def share_arenas() -> None:
    """Let all threads take memory from a few arenas.

    Otherwise each thread gets its own, which holds on to what that thread has freed: 18 MB in the flow node at 320x256.
    To be called before there are threads.
    """
    _set(_M_ARENA_MAX, ARENAS)


def _set(option: int, value: int) -> None:
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(option, value)
