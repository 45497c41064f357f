# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Keep a report from being written over another file."""

from __future__ import annotations

import json
from pathlib import Path


def check_report(path: Path, key: str) -> None:
    """Refuse to replace a file that is not an earlier report of the same kind.

    Args:
        path: of the report to write.
        key: that all reports of this kind have.

    Raises:
        FileExistsError: something else is there.
        OSError: it cannot be read.
    """
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or key not in content:
        raise FileExistsError(f"{path} is not a report of this kind, and is not replaced; choose another --out")
