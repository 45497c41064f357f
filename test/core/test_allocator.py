# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What the C library is told about memory has an effect."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told about memory")

PAGE_FAULTS = """
import resource, sys
import numpy as np
from mdflow_ros.core.allocator import keep_freed_memory
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

ARENAS = """
import ctypes, re, sys, threading
from mdflow_ros.core.allocator import share_arenas
if "share" in sys.argv:
    share_arenas()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
start = threading.Barrier(8)
def use():
    start.wait()
    for _ in range(1000):
        library.malloc(1000)
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.malloc_stats()
"""


def output(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True)


def test_blocks_of_the_size_of_a_flow_come_without_page_faults():
    assert int(output(PAGE_FAULTS).stdout) > 1000, "nothing to mend"
    assert int(output(PAGE_FAULTS, "keep").stdout) < 500


def test_threads_share_arenas():
    assert output(ARENAS).stderr.count("Arena ") > 2, "nothing to mend"
    assert output(ARENAS, "share").stderr.count("Arena ") <= 2
