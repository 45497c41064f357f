# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Where the commands of training start, see `mdflow_ros.entry_points`.

``entry_points.pretrain`` is the ``main`` of ``mdflow_training.commands.pretrain``, imported when it is called.
"""

from __future__ import annotations

from collections.abc import Callable

from mdflow_ros.entry_points import starter


def __getattr__(name: str) -> Callable[[], int]:
    if name.startswith("_"):
        raise AttributeError(name)
    return starter(name, f"mdflow_training.commands.{name}", "pip install '.[training]'")
