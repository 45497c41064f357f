# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Where the commands of training start: one line instead of a traceback where the training packages are missing.

``entry_points.pretrain`` is the ``main`` of ``mdflow_training.commands.pretrain``, imported when it is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

OWN = ("mdflow_ros", "mdflow_training")


def __getattr__(name: str) -> Callable[[], int]:
    if name.startswith("_"):
        raise AttributeError(name)

    def main() -> int:
        try:
            command = importlib.import_module(f"mdflow_training.commands.{name}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in OWN:
                raise
            print(
                f"error: {name} needs the Python package '{error.name}', which is not installed; "
                "run: pip install '.[training]'",
                file=sys.stderr,
            )
            return 1
        return int(command.main() or 0)

    return main
