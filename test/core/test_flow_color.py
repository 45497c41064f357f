# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from mdflow_ros.core.flow_color import ColorScale, confidence_to_color, draw_arrows, draw_legend, flow_to_color


def color_of(u, v, max_flow=10.0):
    return flow_to_color(np.full((2, 3, 2), (u, v), np.float32), max_flow)[0, 0].tolist()


@pytest.mark.parametrize(
    ("direction", "hues_from_red"),  # of the 55 of Baker et al.: 15 to yellow, 6 green, 4 cyan, 11 blue, 13, 6
    [((10, 0), 0), ((0, 10), 13.75), ((-10, 0), 27.5), ((0, -10), 41.25)],
)
def test_directions_have_the_hues_of_the_middlebury_wheel(direction, hues_from_red):
    red_green_blue = [
        np.interp(hues_from_red, [0, 15, 21, 25, 36, 49, 55], values)
        for values in (
            [255, 255, 0, 0, 0, 255, 255],
            [0, 255, 255, 255, 0, 0, 0],
            [0, 0, 0, 255, 255, 255, 0],
        )
    ]
    assert np.allclose(color_of(*direction), red_green_blue, atol=2)


def test_saturation_grows_with_length_up_to_max_flow():
    assert color_of(0, 0) == [255, 255, 255]
    assert np.allclose(color_of(5, 0), [255, 127.5, 127.5], atol=1)
    assert color_of(1000, 0) == color_of(10, 0) == [255, 0, 0]


def test_the_longest_vector_sets_the_scale_by_default():
    flow = np.zeros((4, 4, 2), np.float32)
    flow[1, 2], flow[2, 2] = (3, 0), (1.5, 0)
    color = flow_to_color(flow)
    assert color.dtype == np.uint8 and color.shape == (4, 4, 3)
    assert color[1, 2].tolist() == [255, 0, 0]
    assert np.allclose(color[2, 2], [255, 127.5, 127.5], atol=1)
    assert (flow_to_color(np.zeros((4, 4, 2), np.float32)) == 255).all()


def test_unknown_flow_is_black_and_does_not_set_the_scale():
    flow = np.full((3, 3, 2), (2, 0), np.float32)
    flow[0, 0] = np.nan
    flow[1, 1] = (np.inf, 0)
    color = flow_to_color(flow)
    assert color[0, 0].tolist() == color[1, 1].tolist() == [0, 0, 0]
    assert color[2, 2].tolist() == [255, 0, 0]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"\(H, W, 2\)"):
        flow_to_color(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match="above 0"):
        flow_to_color(np.zeros((4, 4, 2), np.float32), max_flow=0)


def test_confidence_goes_from_violet_to_yellow():
    low, high, unknown = confidence_to_color(np.array([[0.0, 1.0, np.nan]], np.float32))[0].tolist()
    assert low[2] > low[1] and min(high[:2]) > 200 and high[2] < 100 and unknown == low


def test_arrows_point_where_the_flow_leads_and_leave_out_the_unknown():
    picture = np.full((64, 64, 3), 255, np.uint8)
    flow = np.full((64, 64, 2), np.nan, np.float32)
    flow[:, :32] = 12, 0
    drawn = draw_arrows(picture, flow, 32)
    assert drawn[16, 16:28].max() < 255 and drawn[16, :14].min() == 255 and drawn[:, 34:].min() == 255
    assert picture.min() == 255


def test_the_color_scale_follows_slowly_and_ignores_noise():
    scale = ColorScale()
    assert scale.follow(np.full((16, 16, 2), 6.0, np.float32)) == pytest.approx(6 * 2**0.5)
    jump = scale.follow(np.full((16, 16, 2), 60.0, np.float32))
    assert 8 < jump < 20
    assert ColorScale().follow(np.full((16, 16, 2), 0.1, np.float32)) == ColorScale.SHORTEST
    unknown, known = np.full((16, 16, 2), np.nan, np.float32), np.full((16, 16, 2), (30, 40), np.float32)
    masked_at_first = ColorScale()
    assert masked_at_first.follow(unknown) == ColorScale.SHORTEST
    assert masked_at_first.follow(known) == masked_at_first.follow(unknown) == 50


def test_the_legend_is_a_wheel_of_the_same_colors_in_the_corner():
    picture = np.full((240, 320, 3), 200, np.uint8)
    drawn = draw_legend(picture, 12.0)
    changed = np.nonzero((drawn != picture).any(axis=2))
    assert changed[0].min() > 160 and changed[1].min() > 160, "bottom right"
    right, left = drawn[202, 320 - 8 - 4].tolist(), drawn[202, 320 - 8 - 56].tolist()
    assert (
        np.abs(np.subtract(right, color_of(9, 0))).max() < 40 and np.abs(np.subtract(left, color_of(-9, 0))).max() < 40
    )
    assert (picture == 200).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (640, 1), (40, 40), (5, 7)])
def test_a_picture_too_small_for_the_legend_stays_as_it_is(shape):
    picture = np.full((*shape, 3), 200, np.uint8)
    assert (draw_legend(picture, 1e6) == picture).all()
