# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Two runs never write into one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdflow_ros.core.folder_lock import FolderInUse, folder_lock


def test_a_folder_that_another_process_uses_is_refused_until_it_ends(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom mdflow_ros.core.folder_lock import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert other.stdout is not None and other.stdout.readline() == "locked\n"
    with (
        pytest.raises(FolderInUse, match=rf"process, {other.pid}, writes into .*run: wait for it"),
        folder_lock(tmp_path / "run"),
    ):
        pass
    other.kill()
    other.wait()
    with folder_lock(tmp_path / "run"):
        pass
