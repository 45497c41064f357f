# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the clock of a recording: the header stamps, or the times at which the messages were recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_FRAMES = 4
"""With fewer frames nothing can be said against the stamps, except that they are zero."""

MAX_DISORDER = 0.2
"""Share of steps that repeat or go back above which the stamps are of no use. A looping bag goes back once."""

MAX_RATIO = 3.0
"""The stamps run faster or slower than the recording by more than this factor: they are of another unit."""


def why_not_trusted(stamps: NDArray[np.int64], times: NDArray[np.int64]) -> str | None:
    """Return why the stamps of a recording cannot be trusted, or ``None`` if they can.

    Stamps of another clock, such as the time since the camera was switched on, are fine: only differences are used.

    Args:
        stamps: ``(N,)`` stamps of the headers in ns, in the order of recording.
        times: ``(N,)`` when each was recorded, ns.
    """
    if stamps.size and not stamps.any():
        return "have no time stamp"
    if stamps.size < MIN_FRAMES:
        return None
    steps, recorded = np.diff(stamps), np.diff(times)
    if not steps.any():
        return "have one and the same stamp"
    if not (np.median(recorded) > 0):  # recorded in one go, by a converter: no better clock than the stamps
        return None
    if np.mean(steps <= 0) > MAX_DISORDER:
        return "have stamps that repeat or go back"
    ratio = float(np.median(steps) / np.median(recorded))
    if not 1 / MAX_RATIO < ratio < MAX_RATIO and _steady(recorded):  # bursts make single steps meaningless
        return f"have stamps that pass {ratio:.3g} times as fast as the time of recording"
    return None


def _steady(steps: NDArray[np.int64]) -> bool:
    median = np.median(steps)
    return bool(np.mean(np.abs(steps - median) <= 0.5 * median) > 0.5)
