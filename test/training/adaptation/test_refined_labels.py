# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shifted_images import shifted_pair

from mdflow_training.adaptation.refined_labels import refine_labels


def test_labels_of_both_directions_get_better() -> None:
    images = np.stack(shifted_pair(192, 256, right=2, down=-1))
    source = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    ground_truth = torch.tensor([[2.0, -1.0], [-2.0, 1.0]])[:, :, None, None].expand(2, 2, 192, 256)
    label = ground_truth + 0.8 * torch.sin(torch.arange(256) / 12)
    before, after = (
        (flow - ground_truth)[..., 16:-16, 16:-16].norm(dim=1).mean(dim=(1, 2))
        for flow in (label, refine_labels(label, source))
    )
    assert (after < 0.6 * before).all()
