# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The teacher on TensorRT."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import FIXED_SIZE, BackendOptions, BackendUnavailable
from mdflow_ros.backends.tensorrt.cache import EngineCache
from mdflow_ros.backends.tensorrt.library import load_tensorrt, make_logger


class TensorRtBackend:
    """A model in two TensorRT engines of one size: one for flow alone, one for flow and confidence.

    Engines come from the cache. If none fits they are built here, if the options allow it, and never later.

    Args:
        model: the ONNX file, whose card has been checked.
        options: the size is required; what they say of precision and engines counts, too.

    Attributes:
        runners: the engines, by whether they compute the confidence.

    Raises:
        BackendUnavailable: there is no GPU, a package is missing, or no size is given.
        ModelError: the model cannot be read.
        BackendError: an engine cannot be built or loaded.
        ValueError: there is no such precision.
    """

    name = "tensorrt"

    def __init__(self, model: Path, options: BackendOptions) -> None:
        trt, gpu = load_tensorrt()
        if options.inference_size is None:
            raise BackendUnavailable(FIXED_SIZE)
        # These import onnx and cuda.bindings, which only now are known to be here.
        from mdflow_ros.backends.tensorrt.engine import find_or_build_engine
        from mdflow_ros.backends.tensorrt.runner import TensorRtRunner
        from mdflow_ros.model.fixed_graph import EngineSpecification

        trt_logger = make_logger(trt)
        with ExitStack() as resources:
            self.runners: dict[bool, TensorRtRunner] = {}
            for with_confidence in (False, True):
                engine, _ = find_or_build_engine(
                    trt,
                    gpu,
                    EngineCache(),
                    EngineSpecification(model, options.inference_size, options.precision, with_confidence),
                    force=options.force_engine_update,
                    may_build=options.may_build_engine,
                )
                runner = TensorRtRunner(trt, trt_logger, engine)
                resources.callback(runner.close)
                self.runners[with_confidence] = runner
            # Also when nobody calls close: the last reference gives the memory back.
            self._release = weakref.finalize(self, resources.pop_all().close)

    def run(
        self, images: NDArray[np.uint8], with_confidence: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Estimate the flow of one pair; see `Backend.run`."""
        outputs = self.runners[with_confidence].run(images)
        return outputs["flow"], outputs["confidence"][0] if with_confidence else None

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._release()
