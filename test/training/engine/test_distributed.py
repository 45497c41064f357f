# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The last process that still computes uses the CPU threads of all processes."""

from __future__ import annotations

import pytest
import torch

from mdflow_training.engine.distributed import use_threads_of_others


@pytest.mark.parametrize(("processes", "threads"), [(None, 1), ("1", 1), ("3", 3)])
def test_a_process_that_is_left_alone_uses_the_threads_of_all(
    processes: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        use_threads_of_others()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
