# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The TensorRT backend."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from pathlib import Path

from mdflow_ros.backends.backend import FIXED_SIZE, BackendOptions, BackendUnavailable, NetworkBackend
from mdflow_ros.backends.tensorrt.cache import EngineCache
from mdflow_ros.backends.tensorrt.library import load_tensorrt, make_logger
from mdflow_ros.model.graphs import PARTS, Part


class TensorRtBackend(NetworkBackend):
    """A model in three TensorRT engines of one size: encoder, decoder, and decoder for both directions.

    Engines come from the cache. Missing ones are built when the backend is created, if the options allow it.

    Args:
        model: the ONNX file, whose card has been checked.
        options: ``inference_size`` is required; ``precision``, ``decoding`` and the options of engines are used.

    Attributes:
        runners: the engines by part.

    Raises:
        BackendUnavailable: there is no GPU, a package is missing, or no size is given.
        ModelError: the model cannot be read.
        BackendError: an engine cannot be built or loaded.
        ValueError: the precision is unknown.
    """

    def __init__(self, model: Path, options: BackendOptions) -> None:
        trt, gpu = load_tensorrt()
        if options.inference_size is None:
            raise BackendUnavailable(FIXED_SIZE)
        # These import cuda.bindings, which load_tensorrt has found.
        from mdflow_ros.backends.tensorrt.engine import EngineSpecification, find_or_build_engine
        from mdflow_ros.backends.tensorrt.runner import TensorRtRunner

        trt_logger = make_logger(trt)
        with ExitStack() as resources:
            self.runners: dict[Part, TensorRtRunner] = {}
            for part in PARTS:
                specification = EngineSpecification(
                    model, options.inference_size, options.precision, options.decoding, part
                )
                engine, _ = find_or_build_engine(
                    trt,
                    gpu,
                    EngineCache(),
                    specification,
                    force=options.force_engine_update,
                    may_build=options.may_build_engine,
                )
                runner = TensorRtRunner(trt, trt_logger, engine)
                resources.callback(runner.close)
                self.runners[part] = runner
            # Frees the memory when the last reference is dropped, even if close is not called.
            self._release = weakref.finalize(self, resources.pop_all().close)
        decoders = {False: self.runners["decoder"], True: self.runners["decoder-both"]}
        description = f"TensorRT {trt.__version__} {gpu} {options.precision}"
        super().__init__("tensorrt", description, self.runners["encoder"], decoders)

    def close(self) -> None:
        """Free the GPU's memory."""
        self._release()
