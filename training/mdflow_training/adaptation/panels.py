# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Training panels, one picture per pair: image | flow | student flow | visible | reliable | match reliability."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdflow_ros.core.flow_color import flow_to_color
from mdflow_training.losses.match_selection import SelectedMatches, match_reliability


def draw_panel(
    image: Tensor, flow: Tensor, student_flow: Tensor | None, matches: SelectedMatches, threshold: float
) -> NDArray[np.uint8]:
    """Draw the first sample of each argument side by side.

    Args:
        image: RGB ``(N, 3, H, W)`` in [0, 1].
        flow: the teacher's flow, ``(N, 2, H, W)`` in pixels.
        student_flow: the student's flow, same shape, drawn with the same color scale; None draws a black column.
        matches: visibility, reliability and census distance of ``flow``.
        threshold: tau of the match reliability.

    Returns:
        ``(H, 6W, 3)`` uint8 RGB; the masks are white where visible or reliable.
    """
    flows = [None if field is None else _array(field) for field in (flow, student_flow)]
    longest = max(float(np.linalg.norm(field, axis=-1).max()) for field in flows if field is not None)
    height, width = image.shape[-2:]
    columns = [_picture(_array(image))]
    for field in flows:
        black = np.zeros((height, width, 3), np.uint8)
        columns.append(black if field is None else flow_to_color(field, longest or None))
    for mask in (matches.visible, matches.reliable, match_reliability(matches, threshold)):
        columns.append(_picture(_array(mask).repeat(3, axis=-1)))
    return np.concatenate(columns, axis=1)


def _array(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values[0].detach().permute(1, 2, 0).to(torch.float32).cpu().numpy()
    return np.ascontiguousarray(array)


def _picture(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)
