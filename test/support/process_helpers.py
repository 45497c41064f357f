# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Run the package's programs as separate processes, and kill them at a chosen moment."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""How long a program may take before a test gives up, in seconds; generous, as CI machines are busy."""


@contextmanager
def running(environment: Mapping[str, str], module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a module on one thread; stdout has all that it prints. It is killed if it still runs at the end.

    ``environment`` has the variables to add to this process's own.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *(str(argument) for argument in arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def run(environment: Mapping[str, str], module: str, *arguments: object) -> tuple[int, str]:
    """Run a module to its end; return its exit status and its output."""
    with running(environment, module, *arguments) as process:
        printed = process.communicate(timeout=PATIENCE)[0]
    return process.returncode, printed


def kill_once_there(process: subprocess.Popen[Any], path: Path, delay: float) -> None:
    """Kill a process with SIGKILL some time after a file has appeared."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@contextmanager
def small_disk(max_bytes: int) -> Iterator[None]:
    """Let the kernel refuse larger files, so that a write fails in the middle of a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def processes_with(mark: str) -> list[str]:
    """Return the command lines of all processes whose environment contains this text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_text(errors="replace"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
