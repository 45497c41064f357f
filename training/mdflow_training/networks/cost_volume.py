# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The center-dense dilated correlation of FastFlowNet, in a form that is fast on a CPU.

Correlating row by row is a matrix product whose band holds the wanted displacements. Products outside the band are
wasted, yet matrix units make forward and backward together two to seven times faster than 53 shifted multiplications,
and forward alone up to 2.6 times at the sizes of training.
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
        ``(N, 53, H, W)``; outside the second image the features count as zero.
    """
    kind = first.device.type
    if torch.is_autocast_enabled(kind):
        first, second = (features.to(torch.get_autocast_dtype(kind)) for features in (first, second))
    costs: Tensor = _RowCorrelation.apply(first, second)
    return costs


class _RowCorrelation(torch.autograd.Function):
    """Correlation as products of feature rows.

    Each sample has its own product. For one product of all samples, torch would copy the windows, which overlap, and
    take twice as long.
    """

    @staticmethod
    def forward(context: Any, first: Tensor, second: Tensor) -> Tensor:
        samples, channels, height, width = first.shape
        rows = first.permute(0, 2, 3, 1).contiguous()
        padded = F.pad(second, [SEARCH_RADIUS] * 4).permute(0, 2, 3, 1).contiguous()
        context.save_for_backward(rows, padded)
        products = rows.new_empty(samples, height, width, SPAN * (width + 2 * SEARCH_RADIUS))
        for product, row, windows in zip(products, rows, _row_windows(padded, height), strict=True):
            torch.bmm(row, windows.transpose(1, 2), out=product)
        return _band(products).reshape(samples, SPAN * SPAN, height, width)[:, KEPT] / channels

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        rows, padded = context.saved_tensors
        samples, height, width, channels = rows.shape
        costs = rows.new_zeros(samples, SPAN * SPAN, height, width)
        costs[:, KEPT] = (gradients[0] / channels).to(rows.dtype)
        products = rows.new_zeros(samples, height, width, SPAN * (width + 2 * SEARCH_RADIUS))
        _band(products).copy_(costs.view(samples, SPAN, SPAN, height, width))
        to_rows, to_padded = torch.empty_like(rows), torch.zeros_like(padded)
        windows = _row_windows(padded, height)
        for sample, product in enumerate(products):
            torch.bmm(product, windows[sample], out=to_rows[sample])
            to_windows = torch.bmm(product.transpose(1, 2), rows[sample]).unflatten(1, (SPAN, -1))
            for row in range(SPAN):
                to_padded[sample, row : row + height] += to_windows[:, row]
        inner = slice(SEARCH_RADIUS, -SEARCH_RADIUS)
        return to_rows.permute(0, 3, 1, 2), to_padded[:, inner, inner].permute(0, 3, 1, 2)


def _row_windows(padded: Tensor, height: int) -> Tensor:
    """View ``(N, H + 8, W + 8, C)`` as the 9 rows that each row meets, ``(N, H, 9 (W + 8), C)``."""
    samples, _, width, channels = padded.shape
    return padded.as_strided((samples, height, SPAN * width, channels), padded.stride())


def _band(products: Tensor) -> Tensor:
    """View products of rows ``(N, H, W, 9 (W + 8))`` as costs ``(N, 9, 9, H, W)``, rows of equal dy first."""
    samples, height, width, others = products.shape
    by_sample, by_row, by_pixel, by_other = products.stride()
    return products.as_strided(
        (samples, SPAN, SPAN, height, width),
        (by_sample, others // SPAN * by_other, by_other, by_row, by_pixel + by_other),
    )
