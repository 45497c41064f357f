# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Time several methods in turn, so that other load on the machine affects all of them equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

Timed = Callable[[], float]
"""Does the work once and returns the seconds that it took."""

Times = dict[str, list[float]]
"""Seconds of every method, by round."""


def timed(work: Callable[[], object]) -> Timed:
    """Return a function that runs ``work`` and returns its wall time in seconds."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def interleave(methods: Mapping[str, Timed], seconds: float, min_rounds: int = 5, warm_up: int = 1) -> Times:
    """Run every method once per round, for ``seconds`` and at least ``min_rounds`` rounds.

    Each round starts with a different method, so that a method does not gain or lose by its place in the round.

    Returns:
        The seconds of every method; entry ``n`` of every list is from round ``n``.
    """
    for _ in range(warm_up):
        for method in methods.values():
            method()
    names = list(methods)
    times: Times = {name: [] for name in names}
    end = time.perf_counter() + seconds
    done = 0
    while done < min_rounds or time.perf_counter() < end:
        first = done % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(methods[name]())
        done += 1
    return times


def median_ratio(times: Times, numerator: str, denominator: str) -> float:
    """Return the median over the rounds of one method's time over another's."""
    return float(np.median(np.array(times[numerator]) / np.array(times[denominator])))
