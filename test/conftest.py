# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Settings for all tests."""

import os
import signal
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

OPTIONAL = {
    *("torch", "torchvision", "tensorboard", "matplotlib", "pydantic", "tqdm"),
    *("rosbags", "backports", "yaml", "av", "onnx", "tensorrt_rtx", "cuda", "hypothesis", "grimp", "rerun"),
}
"""Packages of the extras; on a robot, where `colcon test` runs, some of them are missing."""


class TestModule(pytest.Module):
    """A file of tests; it is skipped with a reason if it imports an optional package that is missing."""

    def _getobj(self) -> ModuleType:
        try:
            return super()._getobj()
        except self.CollectError as error:
            cause = error.__cause__
            missing = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
            if missing not in OPTIONAL:
                raise
            pytest.skip(f"needs the Python package {missing}: pip install '.[training,test]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect every file of tests as a `TestModule`."""
    return TestModule.from_parent(parent, path=module_path)


# Nothing that the user's computer remembers may change a test, and no test may change that.
CACHE = tempfile.TemporaryDirectory(prefix="mdflow_ros_test_cache_")
os.environ["XDG_CACHE_HOME"] = CACHE.name

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that a shell starts in the background inherits an ignored Ctrl-C, which no process of it can catch.
    signal.signal(signal.SIGINT, signal.default_int_handler)
