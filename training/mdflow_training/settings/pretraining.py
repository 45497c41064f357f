# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of pretraining: its type, range, default and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from mdflow_ros.model.architecture import COARSEST_LEVEL, FINEST_LEVEL, SIZE_MULTIPLE
from mdflow_training.settings.base import Count, OptimizerName, Settings, Weight
from mdflow_training.settings.reading import checked, read_yaml
from mdflow_training.synthetic.pairs import MIXTURE, SCENE_CLASSES

ManyWeights = TypeVar("ManyWeights", dict[str, float], tuple[float, ...])


def _network_side(side: int) -> int:
    if side < SIZE_MULTIPLE or side % SIZE_MULTIPLE:
        raise ValueError(f"must be a multiple of {SIZE_MULTIPLE}")
    return side


def _scene_class(name: str) -> str:
    if name not in SCENE_CLASSES:
        raise ValueError(f"unknown scene class {name!r}; choose one of {', '.join(SCENE_CLASSES)}")
    return name


Side = Annotated[int, AfterValidator(_network_side)]
SceneName = Annotated[str, AfterValidator(_scene_class)]


def _not_all_zero(weights: ManyWeights) -> ManyWeights:
    values = weights.values() if isinstance(weights, dict) else weights
    if not any(value > 0 for value in values):
        raise ValueError("at least one must be above 0")
    return weights


ScaleWeights = Annotated[tuple[Weight, Weight, Weight, Weight, Weight], AfterValidator(_not_all_zero)]


class Phase(Settings):
    """A phase of training, with one rise and fall of the learning rate."""

    samples: Count
    """Number of flow fields to train on; a pair gives two, one for each direction."""
    size: tuple[Side, Side]
    """Height and width of the images, pixels."""
    second_size: tuple[Side, Side] | None = None
    """Height and width in every second step; null: ``size``. Phases with a single size each undo each other's gains."""
    batch: Count
    """Number of pairs per step in each process."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Highest learning rate."""
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Learning rate at the end of the phase, as a share of the highest."""
    exponent: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Exponent of the robust loss; 1 is the plain endpoint error."""
    finest_level: Annotated[int, Field(ge=FINEST_LEVEL, le=COARSEST_LEVEL)] = FINEST_LEVEL
    """Level at which decoding ends; 3 leaves out the finest decoder and more than doubles the speed."""


class PretrainConfig(Settings):
    """All settings of `pretrain.py`."""

    textures: Path | None = None
    """Folder filled by fetch_textures.py; null: its default folder; ``procedural``: textures without a download."""
    initial_weights: Path | None = None
    """A ``.pth`` or a deployable ``.onnx`` to start from; null: random weights."""
    seed: Annotated[int, Field(ge=0)] = 1
    mixture: Annotated[dict[SceneName, Weight], AfterValidator(_not_all_zero)] = Field(dict(MIXTURE))
    """Relative shares of the scene classes in training."""
    uses: Count = 1
    """How often each rendered scene is used, each time with different mirroring and camera; more uses save time."""
    pool: Count = 256
    """Pairs between two uses of a scene. If it is a multiple of processes * workers * batch, none is rendered twice."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    scale_weights: ScaleWeights = (0.1, 0.1, 0.1, 0.2, 1.0)
    """Loss weights of the flows at strides 64, 32, 16 and 8, and of the finest flow at full resolution."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of a phase in which the learning rate rises."""
    optimizer: OptimizerName = "adamw"
    """``muon`` learns more from each sample."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the weights; the average is validated and exported."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Mixed precision; auto is bfloat16 on GPUs and on CPUs with AMX or AVX512_BF16 (twice as fast), else float32."""
    threads: Count = 1
    """CPU threads of torch in each process."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Number of processes that generate pairs."""
    validation_pairs: Count = 4
    """Number of validation pairs of each scene class."""
    validation_size: tuple[Side, Side] = (256, 384)
    validation_every: Count = 1000
    """Steps between validations."""
    save_every: Count = 200
    """Steps between saves of the state for a resume."""


def load_pretrain_config(path: Path) -> PretrainConfig:
    """Read a YAML file.

    Raises:
        ConfigError: it cannot be read, is not a YAML mapping, or a setting is missing, unknown or has a wrong value.
    """
    return checked(PretrainConfig, read_yaml(path))
