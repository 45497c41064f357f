# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import struct

import cv2
import numpy as np
import pytest

from mdflow_training.flow_files import (
    BadFile,
    is_kitti_flow,
    read_flow,
    read_image,
    read_mask,
    write_flow,
    write_image,
    write_pfm,
)


@pytest.fixture
def flow():
    flow = np.random.default_rng(0).uniform(-500, 500, (5, 7, 2)).astype(np.float32)
    flow[1, 2] = np.nan
    return flow


@pytest.mark.parametrize(("suffix", "tolerance"), [(".flo", 0), (".pfm", 0), (".png", 1 / 128)])
def test_a_flow_comes_back_as_written(tmp_path, flow, suffix, tolerance):
    path = tmp_path / "new folder" / f"flow{suffix}"
    write_flow(path, flow)
    assert read_flow(path).dtype == np.float32
    np.testing.assert_allclose(read_flow(path), flow, rtol=0, atol=tolerance, equal_nan=True)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".flo", ".pfm"])
@pytest.mark.parametrize("unknown", [1e9, -1e9, 1e10, 1666666752, np.inf, np.nan])
def test_a_flow_beyond_all_images_is_unknown(tmp_path, suffix, unknown):
    flow = np.full((2, 2, 2), 3, np.float32)
    flow[0, 1, 0] = unknown
    write_pfm(tmp_path / "flow.pfm", flow)
    (tmp_path / "flow.flo").write_bytes(struct.pack("<4sii", b"PIEH", 2, 2) + flow.tobytes())
    read = read_flow(tmp_path / f"flow{suffix}")
    assert np.isnan(read).any(axis=2).tolist() == [[False, True], [False, False]]
    assert read[1].tolist() == [[3, 3], [3, 3]]


def test_flo_is_laid_out_as_middlebury_defines_it(tmp_path):
    path = tmp_path / "flow.flo"
    path.write_bytes(struct.pack("<fii8f", 202021.25, 2, 2, 1, 2, 3, 4, 5, 1.7e9, -6, 7))
    flow = read_flow(path)
    assert flow[0].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(flow[1, 0]).all()
    assert flow[1, 1].tolist() == [-6, 7]
    write_flow(path, flow)
    assert path.read_bytes()[:12] == b"PIEH" + struct.pack("<ii", 2, 2)
    assert struct.unpack("<f", path.read_bytes()[28:32])[0] > 1e9


def test_kitti_flow_has_u_in_red_v_in_green_and_validity_in_blue(tmp_path):
    path = tmp_path / "flow.png"
    rgb = np.array([[[2**15 + 64, 2**15 - 32, 1], [2**15, 2**15, 0]]], np.uint16)
    cv2.imwrite(str(path), rgb[..., ::-1])
    assert is_kitti_flow(path)
    flow = read_flow(path)
    assert flow[0, 0].tolist() == [1, -0.5]
    assert np.isnan(flow[0, 1]).all()
    write_flow(path, np.full((1, 1, 2), 1.0078, np.float32))  # 64.499 steps
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[0, 0].tolist() == [1, 2**15 + 64, 2**15 + 64]


def test_flow_is_known_wherever_hd1k_s_blue_is_not_zero(tmp_path):
    bgr = np.full((1, 3, 3), 2**15, np.uint16)
    bgr[..., 0] = 0, 1, 37
    cv2.imwrite(str(tmp_path / "000000_0010.png"), bgr)
    flow = read_flow(tmp_path / "000000_0010.png")
    assert np.isnan(flow[0, 0]).all() and (flow[0, 1:] == 0).all()


def test_kitti_flow_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match=r"flow\.png.*600\.0 px.*\.flo"):
        write_flow(tmp_path / "flow.png", np.full((1, 1, 2), 600, np.float32))
    assert not (tmp_path / "flow.png").exists()


def test_pfm_rows_go_from_bottom_to_top_in_either_byte_order(tmp_path):
    for scale, order in (("-1.0", "<"), ("1.0", ">")):
        path = tmp_path / "flow.pfm"
        path.write_bytes(f"PF\n1 2\n{scale}\n".encode() + struct.pack(f"{order}6f", 1, 2, 0, 3, 4, 0))
        assert read_flow(path).tolist() == [[[3, 4]], [[1, 2]]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.flo", b""),
        ("a.flo", b"PIEH"),
        ("a.flo", b"HEIP" + struct.pack("<ii2f", 1, 1, 0, 0)),
        ("a.flo", b"PIEH" + struct.pack("<ii2f", 2, 1, 0, 0)),
        ("a.flo", b"PIEH" + struct.pack("<ii2f", -1, -1, 0, 0)),
        ("a.pfm", b"Pf\n1 1\n-1\n" + bytes(4)),
        ("a.pfm", b"PF\n2 1\n-1\n" + bytes(12)),
        ("a.pfm", b"PF"),
        ("a.png", b""),
        ("a.png", b"no image"),
        ("a.flo", b"version https://git-lfs.github.com/spec/v1\n"),
        ("a.jpg", b"no flow"),
    ],
)
def test_a_bad_flow_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=f"{name}.*git lfs pull" if b"git-lfs" in content else name):
        read_flow(tmp_path / name)


def test_flow_that_is_coded_in_another_way_is_not_read_as_kitti_flow(tmp_path):
    """Virtual KITTI's PNGs are of 16 bit RGB, too, but shares of the width and height."""
    path = tmp_path / "flow_00000.png"
    cv2.imwrite(str(path), np.full((8, 9, 3), 40_000, np.uint16))
    with pytest.raises(BadFile, match=r"blue channel is not 0 or a small number.*to \.flo"):
        read_flow(path)


def test_an_ordinary_image_is_no_kitti_flow(tmp_path):
    write_image(tmp_path / "image.png", np.zeros((2, 2, 3), np.uint8))
    assert not is_kitti_flow(tmp_path / "image.png")
    (tmp_path / "text.png").write_bytes(b"not a picture")
    with pytest.raises(BadFile, match=r"text\.png"):
        is_kitti_flow(tmp_path / "text.png")
    with pytest.raises(BadFile, match="16 bit"):
        read_flow(tmp_path / "image.png")


@pytest.mark.parametrize("read", [read_image, read_mask, read_flow])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        read(tmp_path / "missing.png")


def test_images_are_rgb_and_gray_ones_get_three_channels(tmp_path):
    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 200
    for name in ("red.png", "red.ppm"):
        write_image(tmp_path / name, red)
        np.testing.assert_array_equal(read_image(tmp_path / name), red)
    write_image(tmp_path / "gray.png", np.full((2, 3), 7, np.uint8))
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.full((2, 3, 3), 7))


def test_a_truncated_image_is_refused(tmp_path):
    write_image(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8))
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadFile, match=r"cut\.png"):
        read_image(tmp_path / "cut.png")


def test_masks_are_true_where_not_black(tmp_path):
    write_image(tmp_path / "mask.png", np.array([[0, 255], [1, 0]], np.uint8))
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, True], [True, False]]


def test_a_flow_of_another_shape_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"a\.flo.*\(H, W, 2\)"):
        write_flow(tmp_path / "a.flo", np.zeros((2, 3, 3), np.float32))
