# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Mixed precision is used where the hardware has it."""

from __future__ import annotations

import pytest
import torch

from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.precision import autocast_type
from mdflow_training.pretraining.training import Training
from mdflow_training.settings.pretraining import Phase, PretrainConfig

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PHASES = (Phase(samples=1, size=(64, 64), batch=1, learning_rate=1e-3),)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes torch report a CPU with the given units."""

    def pretend(amx: bool, avx512: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("amx", "avx512", "fastest"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, None)],
)
def test_auto_is_what_the_processor_multiplies_in_hardware(processor, amx, avx512, fastest):
    processor(amx, avx512)
    assert autocast_type("auto", CPU) is fastest
    training = Training(PretrainConfig(phases=PHASES), ProcessContext(0, 1, CPU))
    assert training.network.autocast is fastest


def test_auto_is_half_precision_on_a_gpu():
    assert autocast_type("auto", GPU) is torch.float16
    assert autocast_type("auto", GPU, on_gpu=torch.bfloat16) is torch.bfloat16


def test_a_named_precision_is_used_on_any_hardware(processor):
    processor(amx=False, avx512=False)
    assert autocast_type("bfloat16", CPU) is torch.bfloat16
    processor(amx=True, avx512=True)
    assert autocast_type("float32", CPU) is None
