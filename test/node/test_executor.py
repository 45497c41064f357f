# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What a node does with the errors of its callbacks."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from types import SimpleNamespace
from typing import Any

from mdflow_ros.node import executor


def test_an_error_of_a_callback_is_logged_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Failing:
        def spin_once(self, timeout_sec: float) -> None:
            {}["missing"]

    logger = SimpleNamespace(error=lambda text, **_: lines.append(text))
    node: Any = SimpleNamespace(get_logger=lambda: logger)
    failing: Any = Failing()
    monkeypatch.setattr(executor.rclpy, "ok", lambda: True)
    executor.spin_until(lambda: bool(lines), failing, node)
    line = Failing.spin_once.__code__.co_firstlineno + 1
    assert lines == [f"ignored an unexpected KeyError: 'missing' ({__file__}:{line})"]
