# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Freed memory is used again without page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BLOCKS = """
import resource, sys
import numpy as np
from mdflow_ros.core.freed_memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
def use():
    blocks = [np.empty(2 << 20, np.uint8) for _ in range(8)]
    for block in blocks:
        block.fill(1)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*arguments: str) -> int:
    command = [sys.executable, "-c", BLOCKS, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_blocks_of_the_size_of_a_flow_come_without_page_faults():
    assert page_faults() > 1000, "nothing to mend"
    assert page_faults("keep") < 500
