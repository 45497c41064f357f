# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from mdflow_training.judging.extrapolation import center_crop, extrapolation_error

PART = (slice(32, 160), slice(64, 192))
WHOLE = (192, 256)


def uniform_flow(x: float) -> "torch.Tensor":
    """Stacked flow: forward to the right, backward to the left."""
    flow = torch.zeros(2, 2, *WHOLE)
    flow[0, 0], flow[1, 0] = x, -x
    return flow


@pytest.mark.parametrize(
    ("size", "part"),
    [
        ((192, 256), (slice(32, 160), slice(32, 224))),
        ((480, 640), (slice(48, 432), slice(64, 576))),
        ((128, 256), (slice(0, 128), slice(32, 224))),
        ((128, 128), None),
        ((100, 640), None),
    ],
)
def test_the_part_has_a_size_that_networks_take(size: tuple[int, int], part: tuple[slice, slice] | None):
    assert center_crop(*size) == part


def test_a_part_that_tells_what_the_whole_tells_has_no_error():
    flow = uniform_flow(8)
    assert extrapolation_error(flow, flow[..., PART[0], PART[1]], PART) == 0


def test_only_what_leaves_the_part_counts_and_more_than_all_wrong_does_not():
    flow = uniform_flow(8)
    alone = flow[..., PART[0], PART[1]].clone()
    inside = alone.clone()
    inside[:, :, :, 8:-8] = 50
    assert extrapolation_error(flow, inside, PART) == 0
    share = 8 / 128
    for factor, expected in ((0.0, 8 / 9), (0.5, 4 / 9), (-9.0, 1.0)):
        error = float(extrapolation_error(flow, factor * alone, PART))
        assert error == pytest.approx(expected * share, rel=1e-5)


def test_a_whole_that_contradicts_itself_gains_nothing():
    flow = uniform_flow(8)
    alone = flow[..., PART[0], PART[1]].clone()
    flow[:, 0] = 8  # the way back leads elsewhere
    assert extrapolation_error(flow, alone, PART) == pytest.approx(8 / 128)


def test_what_stays_or_leaves_the_whole_too_does_not_count():
    for flow in (torch.zeros(2, 2, *WHOLE), uniform_flow(1000)):
        assert extrapolation_error(flow, torch.ones(2, 2, 128, 128), PART) == 0
