# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The interface between the estimator and the engine that runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.graphs import Decoding, check_precision

FIXED_SIZE = "a TensorRT engine has one fixed size; set the parameter inference_size, for example to [640, 384]"
"""The error if TensorRT is to run without a size."""

Features = dict[str, NDArray[np.float32]]
"""The features of one frame, by name: ``features3``, and ``features2`` where decoding continues to level 2."""

Arrays = dict[str, NDArray[np.generic]]


class BackendUnavailable(RuntimeError):
    """A backend cannot run here; the text says what is missing."""


class BackendError(RuntimeError):
    """A backend cannot load the model, or inference failed."""


@dataclass(frozen=True)
class BackendOptions:
    """Options of a backend beyond the model.

    Attributes:
        inference_size: size of all images, multiples of 64; ``None`` if it may change.
        decoding: how far to decode.
        threads: CPU threads; 0 for all cores.
        precision: of TensorRT and OpenVINO: ``fp16`` allows half precision, OpenVINO then takes the device's fast type;
            ``fp32`` does not. ONNX Runtime computes in float32.
        device: of OpenVINO, ``CPU``, ``GPU`` or ``NPU``.
        force_engine_update: build a new TensorRT engine even if a matching one is cached.
        may_build_engine: whether a TensorRT engine may be built, which takes minutes; otherwise only a cached one is
            used.

    Raises:
        ValueError: the precision is unknown.
    """

    inference_size: Size | None = None
    decoding: Decoding = field(default_factory=Decoding)
    threads: int = 0
    precision: str = "fp16"
    device: str = "CPU"
    force_engine_update: bool = False
    may_build_engine: bool = True

    def __post_init__(self) -> None:
        check_precision(self.precision)


class DecodedFlow(NamedTuple):
    """Flow fields in pixels of the encoded images, u right and v down, float32.

    Attributes:
        flow: ``(h, w, 2)``, from the first image to the second, at the level of the options.
        coarser: ``(h / 2, w / 2, 2)``, the same at the next coarser level.
        backward: ``(h', w', 2)``, from the second image to the first; ``None`` if it was not requested.
    """

    flow: NDArray[np.float32]
    coarser: NDArray[np.float32]
    backward: NDArray[np.float32] | None


class Engine(Protocol):
    """One graph, ready to run."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name.

        Raises:
            BackendError: the engine failed.
        """
        ...


class Backend(Protocol):
    """A model that is ready to run.

    Attributes:
        name: of the backend.
        description: everything else that affects the results: the engine's version, the device, the precision.
    """

    name: str
    description: str

    def encode(self, image: NDArray[np.uint8], mean: NDArray[np.float32]) -> Features:
        """Return the features of one frame.

        Args:
            image: ``(H, W, 3)`` RGB, sides multiples of 64.
            mean: float32 ``(1, 3)``, subtracted from RGB / 255.

        Raises:
            BackendError: the engine failed.
        """
        ...

    def decode(self, first: Features, second: Features, with_backward: bool) -> DecodedFlow:
        """Return the flow between two frames.

        Raises:
            BackendError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Release memory and devices."""
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


def decoder_inputs(first: Features, second: Features) -> Arrays:
    """Return the features of two frames under the names of the decoder's inputs."""
    inputs: Arrays = {f"first_{name}": value for name, value in first.items()}
    return inputs | {f"second_{name}": value for name, value in second.items()}


class NetworkBackend:
    """Encoder and decoder on any kind of engine.

    Args:
        name: of the backend.
        description: see `Backend`.
        encoder: runs the encoder's graph.
        decoders: run the decoder's graphs, for the forward flow alone (False) and for both directions (True).
    """

    def __init__(self, name: str, description: str, encoder: Engine, decoders: Mapping[bool, Engine]) -> None:
        self.name, self.description = name, description
        self._encoder: Engine | None = encoder
        self._decoders = decoders

    def encode(self, image: NDArray[np.uint8], mean: NDArray[np.float32]) -> Features:
        """Return the features of one frame; see `Backend.encode`."""
        assert self._encoder is not None, "the backend is closed"
        return self._encoder.run({"image": image[None], "mean": mean})

    def decode(self, first: Features, second: Features, with_backward: bool) -> DecodedFlow:
        """Return the flow between two frames; see `Backend.decode`."""
        outputs = self._decoders[with_backward].run(decoder_inputs(first, second))
        return DecodedFlow(outputs["flow"], outputs["coarser"], outputs["backward"][0] if with_backward else None)

    def close(self) -> None:
        """Release the engines: dropping the last reference frees them."""
        self._encoder, self._decoders = None, {}
