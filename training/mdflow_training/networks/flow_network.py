# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The common interface of teacher and students: from images in [0, 1] to flows of both directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow_ros.model.architecture import COARSEST_LEVEL, FINEST_LEVEL, FLOW_SCALE, SIZE_MULTIPLE
from mdflow_training.networks.directions import stack_directions, swap_directions
from mdflow_training.networks.fastflownet import FastFlowNet
from mdflow_training.settings.adaptation import TrainedWeights

COARSEST_FINE_LEVEL = 4
"""The coarsest trained level with ``trained_weights: fine_decoders``: 1/16 of the size."""


def subtract_pair_mean(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract one scalar per pair, the mean over both frames, all channels and pixels (MDFlow's repository)."""
    mean = (first.mean(dim=(1, 2, 3), keepdim=True) + second.mean(dim=(1, 2, 3), keepdim=True)) / 2
    return first - mean, second - mean


def scale_to_symmetric(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Scale from [0, 1] to [-1, 1], as princeton's and torchvision's RAFT expect."""
    return 2 * first - 1, 2 * second - 1


def leave_as_is(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images unchanged, for a network that normalizes them itself."""
    return first, second


NORMALIZATIONS = {"pair_mean": subtract_pair_mean, "symmetric": scale_to_symmetric, "none": leave_as_is}


def upsample_flow(flow: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Upsample flow ``(N, 2, h, w)`` bilinearly to ``size``, ``(H, W)``; it is already in full-resolution pixels."""
    if flow.shape[-2:] == size:
        return flow
    return F.interpolate(flow, size, mode="bilinear", align_corners=False)


def freeze(network: nn.Module) -> nn.Module:
    """Switch a network to evaluation mode (including batch normalization) without gradients, and return it."""
    return network.eval().requires_grad_(False)


class FlowNetwork(nn.Module):
    """Base class of the flow networks; a subclass defines `predict`.

    Args:
        core: the wrapped network; its ``state_dict`` is saved and deployed.
        normalization: one of `NORMALIZATIONS`.
        autocast: the data type of mixed precision, or None for float32. The flows are always float32.
    """

    def __init__(self, core: nn.Module, normalization: str, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.core = core
        self.normalize = NORMALIZATIONS[normalization]
        self.autocast = autocast

    def predict(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Return the flows from ``first`` to ``second``: ``(N, 2, h, w)``, full-resolution pixels, best last."""
        raise NotImplementedError

    def predict_both(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Return the flows of both directions, stacked ``(2N, 2, h, w)``, full-resolution pixels, best last."""
        source = stack_directions(first, second)
        return self.predict(source, swap_directions(source))

    def forward(self, first: Tensor, second: Tensor, with_backward: bool = True) -> list[Tensor]:
        """Predict the flow from ``first`` to ``second`` and back.

        Args:
            first: RGB ``(N, 3, H, W)`` in [0, 1], sides multiples of 64 and at least 128.
            second: the newer images, same shape.
            with_backward: whether to compute the backward flow, too.

        Returns:
            Successively better flows, the best last: each ``(2N, 2, h, w)`` float32, stacked directions (see
            `mdflow_training.networks.directions`), in full-resolution pixels, at a stride that divides the image.
            Without the backward flow: ``(N, 2, h, w)``.
        """
        predict = self.predict_both if with_backward else self.predict
        with torch.autocast(first.device.type, self.autocast, enabled=self.autocast is not None):
            flows = predict(*self.normalize(first, second))
        return [flow.float() for flow in flows]

    def train(self, mode: bool = True) -> FlowNetwork:
        """Enter training mode, but keep the statistics of batch normalization, which small batches cannot estimate."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


class FastFlowNetwork(FlowNetwork):
    """FastFlowNet: the teacher, or a student of the teacher's size.

    Args:
        autocast: see `FlowNetwork`.
        finest_level: the level where decoding ends; the decoders of finer levels are not trained.
        trained: which weights are trained.

    Returns:
        Flows at strides 64, 32, 16, 8 and, with a finest level of 2, also 4.
    """

    def __init__(
        self,
        autocast: torch.dtype | None = None,
        finest_level: int = FINEST_LEVEL,
        trained: TrainedWeights = "all",
    ) -> None:
        core = FastFlowNet(cost_volume_normalization=True)
        core.finest_level = finest_level
        super().__init__(core, "pair_mean", autocast)
        self.trained = trained
        self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> FastFlowNetwork:
        """Switch the gradients of the trained weights on or off; the other weights never have gradients."""
        assert isinstance(self.core, FastFlowNet)
        coarsest = COARSEST_LEVEL if self.trained == "all" else COARSEST_FINE_LEVEL
        levels = range(self.core.finest_level, coarsest + 1)
        trained_prefixes = [
            prefix for level in levels for prefix in (f"rconv{level}.", f"decoder{level}.", f"up{level + 1}.")
        ]

        if self.trained == "all":
            trained_prefixes.append("pconv")
        for name, parameter in self.core.named_parameters():
            parameter.requires_grad_(requires_grad and name.startswith(tuple(trained_prefixes)))
        return self

    def predict(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """See `FlowNetwork.predict`."""
        _check_sides(first)
        return [flow * FLOW_SCALE for flow in self.core(first, second)][::-1]

    def predict_both(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """See `FlowNetwork.predict_both`; both directions share the pyramid."""
        assert isinstance(self.core, FastFlowNet)
        _check_sides(first)
        return [flow * FLOW_SCALE for flow in self.core.forward_both(first, second)][::-1]


def _check_sides(images: Tensor) -> None:
    height, width = images.shape[-2:]
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise ValueError(f"image sides must be multiples of {SIZE_MULTIPLE}, got {width}x{height}: resize the images")


def initialize_for_scratch(network: FastFlowNetwork) -> None:
    """Initialize a network for training from scratch.

    With the default weights, the flow would stay near zero for a long time. Here, upsampling starts as bilinear
    interpolation, and the last layer of each decoder is scaled down, so that the first flows are small. Cost-volume
    normalization, which `FastFlowNetwork` always uses, helps even more.
    """
    for name, parameter in network.core.named_parameters():
        with torch.no_grad():
            if name.startswith("up") and name.endswith("weight"):
                taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
                parameter.copy_(torch.eye(2)[:, :, None, None] * taps[:, None] * taps)
            if ".conv7." in name:
                parameter.mul_(0.1)
