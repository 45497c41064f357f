# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A process that was started by nohup survives the end of its terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mdflow_ros.core.stop_signal import StopSignal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    stop = StopSignal()
    os.kill(os.getpid(), number)
    assert stop.requested


def test_sighup_stays_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopSignal()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not stop.requested


def test_every_signal_is_passed_on_by_its_name() -> None:
    names: list[str] = []
    StopSignal(names.append)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert names == ["SIGTERM", "SIGINT"]
