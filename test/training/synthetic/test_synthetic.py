# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic pairs: deterministic, and exact in flow and occlusion."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from mdflow_training.commands.synthetic import main
from mdflow_training.flow_files import read_flow, read_image
from mdflow_training.synthetic.camera_effects import photograph_pair
from mdflow_training.synthetic.layers import FlowPair, Layer, render
from mdflow_training.synthetic.pairs import (
    EMBREE_CLASSES,
    MIXTURE,
    SCENE_CLASSES,
    choose_class,
    mirror_pair,
    record_pair,
    render_pair,
    synthetic_pair,
)
from mdflow_training.synthetic.planar import bending, translation
from mdflow_training.synthetic.roads_and_rooms import MovingCamera, facing_wall
from mdflow_training.synthetic.textures import TextureLibrary, load_library, procedural_library, pyramid, value_noise

SIZE = (128, 192)

needs_embree = pytest.mark.skipif(find_spec("embreex") is None, reason="embreex is not installed (x86-64 only)")
EVERY_CLASS = [pytest.param(name, marks=needs_embree if name in EMBREE_CLASSES else ()) for name in SCENE_CLASSES]


@pytest.fixture(scope="module")
def smooth() -> TextureLibrary:
    """Textures without fine detail, so that interpolation hardly changes them."""
    random = np.random.default_rng(5)
    noises = [np.stack([value_noise(random, 16, 3) for _ in range(3)], axis=-1) for _ in range(4)]
    large = [cv2.resize(128 + 40 * noise, (512, 512), interpolation=cv2.INTER_CUBIC) for noise in noises]
    return TextureLibrary([pyramid(np.clip(image, 0, 255).astype(np.uint8)) for image in large], [])


@pytest.fixture(scope="module")
def library() -> TextureLibrary:
    return procedural_library(1, 3, 256)


def sample(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)


def inner(visible: np.ndarray) -> np.ndarray:
    """Visible pixels two and more away from any that is not: there no two surfaces are blended."""
    return cv2.erode(visible.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(bool)


@pytest.mark.parametrize("scene_class", EVERY_CLASS)
def test_equal_arguments_give_equal_pairs_in_any_order(library: TextureLibrary, scene_class: str) -> None:
    first = [synthetic_pair(library, 7, number, SIZE, scene_class) for number in (0, 1, 2)]
    again = [synthetic_pair(library, 7, number, SIZE, scene_class) for number in (2, 1, 0)][::-1]
    for one, other in zip(first, again, strict=True):
        for name in vars(one):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert not np.array_equal(first[0].first, first[1].first)
    assert not np.array_equal(first[0].first, synthetic_pair(library, 8, 0, SIZE, scene_class).first)


@pytest.mark.parametrize("scene_class", EVERY_CLASS)
def test_warping_by_the_flow_gives_the_other_image(smooth: TextureLibrary, scene_class: str) -> None:
    warped_error, still_error = [], []
    for number in range(12):
        pair = synthetic_pair(smooth, 3, number, SIZE, scene_class, effects=False)
        for image, other, flow, occluded in (
            (pair.first, pair.second, pair.forward, pair.occluded_forward),
            (pair.second, pair.first, pair.backward, pair.occluded_backward),
        ):
            visible = inner(~occluded)
            if visible.sum() < 500:
                continue
            difference = np.abs(sample(other, flow).astype(float) - image)[visible]
            warped_error.append(np.median(difference))
            still_error.append(np.abs(other.astype(float) - image)[visible].mean())
    assert max(warped_error) <= 2
    assert np.mean(still_error) > 10 * np.mean(warped_error)


@pytest.mark.parametrize("scene_class", EVERY_CLASS)
def test_going_forth_and_back_ends_where_it_began(library: TextureLibrary, scene_class: str) -> None:
    checked = 0
    for number in range(12):
        pair = synthetic_pair(library, 4, number, SIZE, scene_class, effects=False)
        gap = np.linalg.norm(pair.forward + sample(pair.backward, pair.forward), axis=-1)
        visible = inner(~pair.occluded_forward)
        checked += visible.sum()
        if visible.any():
            assert np.percentile(gap[visible], 90) < 0.05
    assert checked > 50_000


def test_a_bent_layer_keeps_exact_flow(library: TextureLibrary) -> None:
    bend = bending(np.random.default_rng(2), SIZE)
    assert np.abs(bend).max() > 0.3
    place = translation(-100, -100)
    pair = render([Layer(library.photographs[0][0], None, place, translation(3, -2) @ place, bend)], SIZE)
    gap = np.linalg.norm(pair.forward + sample(pair.backward, pair.forward), axis=-1)[12:-12, 12:-12]
    assert gap.max() < 0.02
    assert pair.forward.std() > 0.1


def hand_made(shift: int) -> FlowPair:
    """A gray square, columns 20 to 29 and rows 10 to 19, moves right over a still background."""
    ground = np.full((40, 60, 3), 50, np.uint8)
    square, alpha = np.full((10, 10, 3), 200, np.uint8), np.full((10, 10), 255, np.uint8)
    still = translation(0, 0)
    return render(
        [Layer(ground, None, still, still), Layer(square, alpha, translation(20, 10), translation(20 + shift, 10))],
        (40, 60),
    )


def test_occlusion_of_a_hand_made_case_is_exact() -> None:
    pair = hand_made(4)
    hidden = np.zeros((40, 60), bool)
    hidden[10:20, 30:34] = True
    np.testing.assert_array_equal(pair.occluded_forward, hidden)
    uncovered = np.zeros((40, 60), bool)
    uncovered[10:20, 20:24] = True
    np.testing.assert_array_equal(pair.occluded_backward, uncovered)
    moving = np.zeros((40, 60, 2), np.float32)
    moving[10:20, 20:30, 0] = 4
    np.testing.assert_allclose(pair.forward, moving, atol=1e-5)
    np.testing.assert_array_equal(pair.first[..., 0] == 200, moving[..., 0] == 4)


def test_what_leaves_the_image_is_occluded() -> None:
    pair = hand_made(35)
    assert pair.occluded_forward[10:20, 25:30].all()
    assert not pair.occluded_forward[10:20, 20:25].any()


def test_displacements_reach_a_fifth_of_the_width_and_many_are_small(library: TextureLibrary) -> None:
    lengths = [
        np.linalg.norm(synthetic_pair(library, 9, number, (192, 512), "flat", effects=False).forward, axis=-1)
        for number in range(40)
    ]
    largest = np.array([length.max() for length in lengths])
    assert 100 < largest.max() < 300
    assert np.mean(np.concatenate(lengths) < 2) > 0.1
    assert np.mean(np.concatenate(lengths) > 40) > 0.02


def test_approaching_a_wall_expands_the_image(library: TextureLibrary) -> None:
    intrinsics = np.array([[100, 0, 96], [0, 100, 64], [0, 0, 1.0]])
    camera = MovingCamera(intrinsics, np.eye(3), np.array([0, 0, -0.5]))
    layer = facing_wall(np.random.default_rng(0), library, SIZE, camera, depth=5.0)
    flow = render([layer], SIZE).forward
    x, y = np.meshgrid(np.arange(192) - 96, np.arange(128) - 64)
    np.testing.assert_allclose(flow, np.stack((x, y), axis=-1) * 0.5 / 4.5, atol=1e-3)


def test_camera_effects_leave_the_scene_where_it_is(smooth: TextureLibrary) -> None:
    """Structure must still line up, to the tenth of a pixel that phase correlation tells, or labels would be wrong."""
    shifts = []
    for number in range(20):
        pair = synthetic_pair(smooth, 6, number, SIZE, "flat", effects=False)
        first, second = photograph_pair(np.random.default_rng(number), pair)
        assert first.shape == pair.first.shape
        assert first.dtype == second.dtype == np.uint8
        gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image in (pair.first, first)]
        (x, y), response = cv2.phaseCorrelate(*gray)
        if response > 0.3:
            shifts.append(np.hypot(x, y))
    assert len(shifts) > 10
    assert np.median(shifts) < 0.1


def test_still_scenes_do_not_move(library: TextureLibrary) -> None:
    flows = [render_pair(library, 12, number, SIZE, "still").forward for number in range(12)]
    assert np.median([np.abs(flow).max() for flow in flows]) < 1e-6
    assert max(np.abs(flow).max() for flow in flows) > 5  # now and then one object moves


def test_fast_objects_reach_a_third_of_the_width_before_a_slow_background(library: TextureLibrary) -> None:
    lengths = [np.linalg.norm(render_pair(library, 12, number, SIZE, "fast").forward, axis=-1) for number in range(40)]
    assert max(length.max() for length in lengths) > 0.33 * SIZE[1]
    assert np.median(np.concatenate(lengths)) < 2


def test_the_mixture_decides_how_often_a_class_comes() -> None:
    assert sum(MIXTURE.values()) == pytest.approx(1)
    drawn = [choose_class(1, number, {"flat": 3, "fast": 1}) for number in range(400)]
    assert 0.68 < drawn.count("flat") / 400 < 0.82
    assert drawn == [choose_class(1, number, {"flat": 3, "fast": 1}) for number in range(400)]


@pytest.mark.parametrize("axes", [(True, False), (False, True), (True, True)])
def test_a_mirrored_pair_is_still_exact(library: TextureLibrary, axes: tuple[bool, bool]) -> None:
    pair = mirror_pair(render_pair(library, 4, 1, SIZE), *axes)
    gap = np.linalg.norm(pair.forward + sample(pair.backward, pair.forward), axis=-1)
    assert np.percentile(gap[inner(~pair.occluded_forward)], 90) < 0.05


def test_exposure_changes_more_under_its_own_conditions(library: TextureLibrary) -> None:
    def change(scene_class: str) -> float:
        pair = render_pair(library, 2, 0, SIZE, "still")
        takes = [record_pair(pair, 2, 0, scene_class, take) for take in range(20)]
        return float(np.mean([abs(take.first.mean() - take.second.mean()) for take in takes]))

    assert change("exposure") > 2 * change("flat")


def test_the_tool_writes_what_evaluation_reads(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert main(["--out", str(tmp_path), "--count", "2", "--size", "64", "96", "--procedural"]) == 0
    folder = tmp_path / "000001"
    assert read_image(folder / "frame10.png").shape == (64, 96, 3)
    assert read_flow(folder / "flow10.flo").shape == (64, 96, 2)
    assert read_image(tmp_path / "sheet.png").shape == (2 * 64, 5 * 96, 3)


def test_missing_textures_name_the_remedy(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FileNotFoundError, match="fetch_textures"):
        load_library(tmp_path)
    assert main(["--out", str(tmp_path / "out"), "--textures", str(tmp_path)]) == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").touch()
    arguments = ["--count", "1", "--size", "64", "64", "--procedural", "--classes", "flat"]
    assert main(["--out", str(tmp_path / "file"), *arguments]) == 2
    assert "error: " in capsys.readouterr().err
