# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest
from process_helpers import small_disk

from mdflow_ros.core.picture_files import encode_picture, write_picture
from mdflow_ros.core.resizing import shrink


def test_a_picture_keeps_its_channels_in_order(tmp_path: Path) -> None:
    red = np.full((4, 6, 3), (255, 10, 20), np.uint8)
    write_picture(tmp_path / "red.png", red)
    assert np.array_equal(cv2.imread(str(tmp_path / "red.png")), red[..., ::-1])
    half = np.dstack((red, np.full((4, 6), 128, np.uint8)))
    write_picture(tmp_path / "half.png", half)
    assert np.array_equal(cv2.imread(str(tmp_path / "half.png"), cv2.IMREAD_UNCHANGED), half[..., [2, 1, 0, 3]])


def test_a_jpeg_of_lower_quality_is_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_picture(noise, ".jpg", 50)) < 0.7 * len(encode_picture(noise, ".jpg"))


def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with small_disk(1000), pytest.raises(OSError, match="File too large"):
        write_picture(tmp_path / "noise.png", noise)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limits", "size"),
    [((50,), (50, 25)), ((50, 50), (50, 25)), ((200, 10), (20, 10)), ((1, 10), (1, 1)), ((100, 50), (100, 50))],
)
def test_images_shrink_to_fit_and_never_grow(limits: tuple[int, ...], size: tuple[int, int]) -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, 50:] = 200
    small = shrink(image, *limits)
    assert small.shape[1::-1] == size and small.mean() == pytest.approx(100, abs=1)
    assert shrink(small, *limits) is small
