# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The center-dense dilated correlation of FastFlowNet, implemented to be fast on a CPU.

Rows of features are correlated by a matrix product; the costs of the searched displacements form a band in it. The
products outside the band are wasted, but at training sizes forward plus backward is still two to seven times faster
than 53 shifted multiplications, and forward alone up to 2.6 times.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow_ros.model.architecture import SEARCH_RADIUS, kept_displacements

SPAN = 2 * SEARCH_RADIUS + 1
KEPT = [(dy + SEARCH_RADIUS) * SPAN + dx + SEARCH_RADIUS for dx, dy in kept_displacements()]


def cost_volume(first: Tensor, second: Tensor) -> Tensor:
    """Correlate features over the 53 kept displacements, mean over channels.

    Args:
        first: ``(N, C, H, W)`` features of the first image.
        second: ``(N, C, H, W)`` features of the second image, warped towards the first.

    Returns:
        The costs, ``(N, 53, H, W)``; features outside the second image count as zero.
    """
    kind = first.device.type
    if torch.is_autocast_enabled(kind):
        first, second = (features.to(torch.get_autocast_dtype(kind)) for features in (first, second))
    costs: Tensor = _RowCorrelation.apply(first, second)
    return costs


class _RowCorrelation(torch.autograd.Function):
    """Correlation as matrix products of feature rows.

    Samples are processed one at a time: a batched product would copy the overlapping windows and take twice as long.
    """

    @staticmethod
    def forward(context: Any, first: Tensor, second: Tensor) -> Tensor:
        samples, channels, height, width = first.shape
        rows = first.permute(0, 2, 3, 1).contiguous()
        padded = F.pad(second, [SEARCH_RADIUS] * 4).permute(0, 2, 3, 1).contiguous()
        context.save_for_backward(rows, padded)
        kept = torch.tensor(KEPT, device=rows.device)
        product = rows.new_empty(height, width, SPAN * (width + 2 * SEARCH_RADIUS))
        costs = rows.new_empty(samples, len(KEPT), height, width)
        for sample, windows in enumerate(_row_windows(padded, height)):
            torch.bmm(rows[sample], windows.transpose(1, 2), out=product)
            torch.index_select(_band(product).reshape(SPAN * SPAN, height, width), 0, kept, out=costs[sample])
        return costs.div_(channels)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        rows, padded = context.saved_tensors
        _, height, width, channels = rows.shape
        kept = torch.tensor(KEPT, device=rows.device)
        # Entries outside the band and displacements that are not kept stay zero for every sample.
        product = rows.new_zeros(height, width, SPAN * (width + 2 * SEARCH_RADIUS))
        costs = rows.new_zeros(SPAN * SPAN, height, width)
        to_rows, to_padded = torch.empty_like(rows), torch.zeros_like(padded)
        for sample, windows in enumerate(_row_windows(padded, height)):
            costs.index_copy_(0, kept, (gradients[0][sample] / channels).to(rows.dtype))
            _band(product).copy_(costs.view(SPAN, SPAN, height, width))
            torch.bmm(product, windows, out=to_rows[sample])
            to_windows = torch.bmm(product.transpose(1, 2), rows[sample]).unflatten(1, (SPAN, -1))
            for row in range(SPAN):
                to_padded[sample, row : row + height] += to_windows[:, row]
        inner = slice(SEARCH_RADIUS, -SEARCH_RADIUS)
        return to_rows.permute(0, 3, 1, 2), to_padded[:, inner, inner].permute(0, 3, 1, 2)


def _row_windows(padded: Tensor, height: int) -> Tensor:
    """View ``(N, H + 8, W + 8, C)`` as the 9 rows that each row is compared with, ``(N, H, 9 (W + 8), C)``."""
    samples, _, width, channels = padded.shape
    return padded.as_strided((samples, height, SPAN * width, channels), padded.stride())


def _band(product: Tensor) -> Tensor:
    """View a product of rows ``(H, W, 9 (W + 8))`` as costs ``(9, 9, H, W)``, rows of equal dy first."""
    height, width, others = product.shape
    by_row, by_pixel, by_other = product.stride()
    return product.as_strided(
        (SPAN, SPAN, height, width), (others // SPAN * by_other, by_other, by_row, by_pixel + by_other)
    )
