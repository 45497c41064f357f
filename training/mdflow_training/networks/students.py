# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The networks that can be the student, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from mdflow_ros.model.architecture import FINEST_LEVEL
from mdflow_training.networks.checkpoints import reason_of
from mdflow_training.networks.flow_network import FastFlowNetwork, FlowNetwork
from mdflow_training.networks.raft_weights import is_official, to_torchvision
from mdflow_training.settings.adaptation import PTLFLOW_PREFIX, StudentSettings, TrainedWeights

TORCHVISION_PREFIX = "torchvision:"
FROM_TEACHER = "teacher"


class RaftNetwork(FlowNetwork):
    """torchvision's RAFT, small or large."""

    def __init__(self, settings: StudentSettings, autocast: torch.dtype | None) -> None:
        core = get_model(settings.name, weights=None)
        super().__init__(core, settings.normalization or "symmetric", autocast)
        self.updates = settings.updates

    def predict(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """See `FlowNetwork.predict`; returns all iterations in training mode, else only the last."""
        flows = self.core(first, second, num_flow_updates=self.updates)
        return flows if self.training else flows[-1:]


class PtlflowNetwork(FlowNetwork):
    """Any model of ptlflow (https://github.com/hmorimitsu/ptlflow); it normalizes the images itself."""

    def __init__(self, settings: StudentSettings, autocast: torch.dtype | None) -> None:
        if settings.normalization is not None:
            raise ValueError("ptlflow's models normalize images themselves: set student.normalization to null")
        import ptlflow

        super().__init__(ptlflow.get_model(settings.name.removeprefix(PTLFLOW_PREFIX)), "none", autocast)

    def predict(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """See `FlowNetwork.predict`; includes the iterations if the model returns them at full resolution."""
        blue_first = torch.stack((first, second), dim=1).flip(2)
        outputs = self.core({"images": blue_first})
        final = outputs["flows"][:, 0]
        refinements = outputs.get("flow_preds") if self.training else None
        if not isinstance(refinements, list) or any(flow.shape != final.shape for flow in refinements):
            return [final]
        return refinements


def build_student(
    settings: StudentSettings,
    teacher_state: Mapping[str, Tensor],
    autocast: torch.dtype | None = None,
    finest_level: int = FINEST_LEVEL,
    trained: TrainedWeights = "all",
) -> FlowNetwork:
    """Build a student with its initial weights.

    Args:
        settings: which network, and its initial weights. Random weights depend on torch's random state.
        teacher_state: the teacher's weights, from which a ``fastflownet`` student may start.
        autocast: see `FlowNetwork`.
        finest_level: the level where a ``fastflownet`` student ends decoding.
        trained: which weights of a student that starts from the teacher are trained.

    Raises:
        ValueError: its package is missing, or its weights cannot be downloaded or read, or do not fit.
    """
    network = _build(settings, autocast, finest_level, trained)
    if settings.weights is not None:
        load_core(network.core, _initial_weights(settings, teacher_state), settings.weights)
    return network


def _build(
    settings: StudentSettings, autocast: torch.dtype | None, finest_level: int, trained: TrainedWeights
) -> FlowNetwork:
    if settings.name in ("raft_small", "raft_large"):
        return RaftNetwork(settings, autocast)
    if settings.name == "fastflownet":
        if settings.normalization not in (None, "pair_mean"):
            raise ValueError("FastFlowNet expects images minus the pair's mean: set student.normalization to null")
        return FastFlowNetwork(autocast, finest_level, trained if settings.weights == FROM_TEACHER else "all")
    if importlib.util.find_spec("ptlflow") is None:
        raise ValueError(f"the student {settings.name} needs ptlflow: pip install ptlflow")
    return PtlflowNetwork(settings, autocast)


def _initial_weights(settings: StudentSettings, teacher_state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    assert settings.weights is not None
    if settings.weights == FROM_TEACHER:
        if settings.name != "fastflownet":
            raise ValueError("only a fastflownet student can start from the teacher: change student.weights")
        return teacher_state
    if settings.weights.startswith(TORCHVISION_PREFIX):
        published: Any = get_model_weights(settings.name)
        name = settings.weights.removeprefix(TORCHVISION_PREFIX)
        if name not in published.__members__:
            raise ValueError(f"unknown weights {settings.weights}: choose one of {', '.join(published.__members__)}")
        try:
            return published[name].get_state_dict(progress=False)
        except OSError as error:
            raise ValueError(
                f"cannot download {settings.weights} (no network? {error}): fetch {published[name].url} elsewhere and "
                "set student.weights=FILE"
            ) from error
    return read_weights(Path(settings.weights))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict, plain or under ``state_dict``; official RAFT names are converted to torchvision's.

    Raises:
        ValueError: the file cannot be read or contains something else.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"cannot read the weights {path}: {reason_of(error)}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no network weights (a mapping of names to tensors)")
    return to_torchvision(state) if is_official(state) else state


def load_core(core: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load all weights of a network.

    Raises:
        ValueError: names or shapes differ from the network's; the message includes ``origin``.
    """
    expected = core.state_dict()
    if not isinstance(state, Mapping):
        raise ValueError(
            f"the weights {origin} do not fit {type(core).__name__}: they are not a mapping of names to tensors"
        )
    wrong = {
        "missing": sorted(expected.keys() - state.keys()),
        "unknown": sorted(state.keys() - expected.keys()),
        "of another shape": sorted(
            name
            for name in expected.keys() & state.keys()
            if getattr(state[name], "shape", None) != expected[name].shape
        ),
    }
    found = [f"{len(names)} {what}, such as {names[0]}" for what, names in wrong.items() if names]
    if found:
        raise ValueError(f"the weights {origin} do not fit {type(core).__name__} ({'; '.join(found)}): choose others")
    core.load_state_dict(dict(state))
