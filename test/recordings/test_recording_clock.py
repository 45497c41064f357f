# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The times of recording where the computer's clock is set."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.recordings import recording_clock
from mdflow_ros.recordings.recording_clock import RecordingClock


class ComputerClock:
    """The clock that is set, and the one that is not; reading them takes a little time."""

    def __init__(self) -> None:
        self.now, self.offset = 10**15, 10**18

    def time_ns(self) -> int:
        self.now += 1000
        return self.now + self.offset

    def monotonic_ns(self) -> int:
        self.now += 1000
        return self.now


@pytest.mark.parametrize("jumps", [(-3.0,), (-3600.0, -2.0), (5.0, -5.0), (-2.0, 1.0)])
def test_times_of_recording_go_on_where_the_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch, jumps: tuple[float, ...]
) -> None:
    computer, reports = ComputerClock(), []
    monkeypatch.setattr(
        recording_clock, "time", SimpleNamespace(time_ns=computer.time_ns, monotonic_ns=computer.monotonic_ns)
    )
    clock, times = RecordingClock(reports.append), []
    for jump in (0.0, *jumps):
        computer.offset += int(jump * NANOSECONDS)
        for _ in range(10):
            computer.now += NANOSECONDS // 30
            times.append(clock.time(computer.time_ns()))
    steps = [after - before for before, after in pairwise(times)]
    forward = max(jumps) > 0 and jumps[0] > 0
    assert sum(abs(step - NANOSECONDS / 30) > 10**7 for step in steps) == (1 if forward else 0)
    assert min(steps) > 0
    assert len(reports) == sum(jump < 0 for jump in jumps)
    assert f"set back by {-min(jumps):.3g} s" in "".join(reports)
