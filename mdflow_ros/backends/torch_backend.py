# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The network in torch, as it is trained: slow, but open to a debugger. Written apart from the ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.model.card import Preprocessing
from mdflow_ros.model.confidence_graph import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, TAU

if TYPE_CHECKING:
    from torch import Tensor


class TorchBackend:
    """A model in torch, on the CPU.

    Args:
        model: the ONNX file; its parameters are read back out of it.
        options: ``threads`` counts here; the size is free.

    Raises:
        BackendUnavailable: torch, onnx or the training package is not installed.
        BackendError: the file holds no FastFlowNet.
    """

    name = "torch"

    def __init__(self, model: Path, options: BackendOptions) -> None:
        try:
            import torch

            from mdflow_ros.model.weights import load_weights
            from mdflow_training.networks.fastflownet import FastFlowNet
        except ImportError as error:
            raise BackendUnavailable(f"{error}; install it with `pip install mdflow_ros[training]`") from error
        try:
            weights, self._card = load_weights(model)
        except ValueError as error:
            raise BackendError(str(error)) from error
        if options.threads:
            torch.set_num_threads(options.threads)
        self._network = FastFlowNet(self._card.cost_volume_normalization)
        self._network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        self._network.eval()

    def run(
        self, images: NDArray[np.uint8], with_confidence: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Estimate the flow of one pair; see `Backend.run`."""
        import torch

        from mdflow_training.losses.census import census_distance
        from mdflow_training.networks.fastflownet import full_resolution, warp

        with torch.inference_mode():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
            first, second = self._preprocess(pixels).split(1)
            if not with_confidence:
                return full_resolution(self._network(first, second)[0])[0].permute(1, 2, 0).numpy(), None
            forward, backward = (full_resolution(flows[0]) for flows in self._network.forward_both(first, second))
            returned = warp(backward, forward)
            magnitude = (forward.square() + returned.square()).sum(dim=1, keepdim=True)
            tolerance = RELATIVE_TOLERANCE * magnitude + ABSOLUTE_TOLERANCE
            visibility = tolerance / (tolerance + (forward + returned).square().sum(dim=1, keepdim=True))
            distance = census_distance(pixels[:1], warp(pixels[1:], forward))
            confidence = visibility * torch.exp(-distance / TAU)
            return forward[0].permute(1, 2, 0).numpy(), confidence[0, 0].numpy()

    def _preprocess(self, pixels: Tensor) -> Tensor:
        if self._card.preprocessing is Preprocessing.BGR_CHANNEL_MEAN:
            return pixels.flip(1) - pixels.flip(1).mean(dim=(0, 2, 3), keepdim=True)
        return pixels - pixels.mean()

    def close(self) -> None:
        """Nothing to give back by hand."""
