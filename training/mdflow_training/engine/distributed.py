# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Run the same training code in one process, or in several processes under ``torchrun``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(hours=12)
"""How long a process waits for the others; the main process may have to decode a long recording first."""


@dataclass(frozen=True)
class ProcessContext:
    """The rank and device of a process in distributed training.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes that train together.
        device: the device of this process.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that logs and saves."""
        return self.rank == 0


def setup() -> ProcessContext:
    """Join the processes started by ``torchrun``; without it, this process trains alone.

    Uses NCCL if each process has a GPU, else gloo.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.device_count() > local_rank:
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if world_size == 1:
        return ProcessContext(0, 1, device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    return ProcessContext(torch.distributed.get_rank(), world_size, device)


def use_threads_of_others() -> None:
    """Use the CPU threads of all processes on this computer. Call it once the others have finished."""
    torch.set_num_threads(torch.get_num_threads() * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def wrap(module: nn.Module, find_unused_parameters: bool = False) -> nn.Module:
    """Return ``module`` wrapped to average its gradients over the processes; with one process, ``module`` itself.

    Args:
        module: the network to train.
        find_unused_parameters: whether some parameters have no gradient in some steps.
    """
    if not torch.distributed.is_initialized():
        return module
    return DistributedDataParallel(module, find_unused_parameters=find_unused_parameters)


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module that was passed to `wrap`."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def reduce_mean(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over the processes, detached."""
    value = value.detach().clone()
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value


def teardown() -> None:
    """Leave the process group, if any."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
