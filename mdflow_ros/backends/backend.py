# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What a backend is: the one interface between the estimator and the engine that runs the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size

FIXED_SIZE = "a TensorRT engine has one fixed size; set the parameter inference_size, for example to [640, 384]"
"""Why a backend on TensorRT cannot do without a size."""


class BackendUnavailable(RuntimeError):
    """A backend cannot run here; the text says what is missing."""


class BackendError(RuntimeError):
    """A backend that was running has failed."""


@dataclass(frozen=True)
class BackendOptions:
    """What a backend may need to know beyond the model.

    Attributes:
        inference_size: size that every pair will have, multiples of 64; ``None`` if it may change.
        threads: CPU threads; 0 takes all cores.
        precision: ``fp32`` or ``fp16``, for backends that can choose.
        force_engine_update: build a new engine even if a fitting one is cached.
        may_build_engine: whether there is time to build an engine, which takes minutes; otherwise only a cached one
            will do.
    """

    inference_size: Size | None = None
    threads: int = 0
    precision: str = "fp16"
    force_engine_update: bool = False
    may_build_engine: bool = True


class Backend(Protocol):
    """A model that is ready to run."""

    name: str

    def run(
        self, images: NDArray[np.uint8], with_confidence: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Estimate the flow of one pair.

        Args:
            images: ``(2, H, W, 3)`` RGB, sides multiples of 64.
            with_confidence: without it the backward flow need not be computed.

        Returns:
            Flow ``(H, W, 2)`` in pixels and confidence ``(H, W)`` in [0, 1], or ``None``.

        Raises:
            BackendError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Give back memory and devices."""
        ...


class BackendFactory(Protocol):
    """Loads a model into a backend."""

    def __call__(self, model: Path, options: BackendOptions) -> Backend:
        """Load ``model``, whose card has been checked.

        Raises:
            BackendUnavailable: something that the backend needs is missing here.
            BackendError: the model cannot be loaded.
        """
        ...
