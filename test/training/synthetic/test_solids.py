# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Solid bodies: exact flow and occlusion of cases computed by hand, and shapes of the right size."""

import sys

import numpy as np
import pytest

pytest.importorskip("trimesh")
pytest.importorskip("embreex", reason="embreex is not installed (x86-64 only)")

import trimesh

from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_training.commands import pretrain, synthetic
from mdflow_training.synthetic.pairs import SCENE_CLASSES, render_pair
from mdflow_training.synthetic.roads_and_rooms import rotation_matrix
from mdflow_training.synthetic.solid_renderer import Body, SolidScene, render_solids
from mdflow_training.synthetic.solid_textures import TextureAtlas, box_projection, compression
from mdflow_training.synthetic.solids import SHAPES, as_mesh, random_mesh, uneven_ground
from mdflow_training.synthetic.textures import procedural, procedural_library

SIZE = (64, 96)
INTRINSICS = np.array([[80.0, 0, 47.5], [0, 80, 31.5], [0, 0, 1]])
X, Y = np.meshgrid(np.arange(96.0), np.arange(64.0))
TEXTURE = procedural(np.random.default_rng(1), 128)


def at(x: float, y: float, z: float, turn: tuple[float, float, float] = (0, 0, 0)) -> RigidMotion:
    return RigidMotion(rotation_matrix(*turn), np.array([x, y, z]))


def wall(first: RigidMotion, second: RigidMotion) -> Body:
    """Return a plane of 40 m."""
    mesh = as_mesh(uneven_ground(np.random.default_rng(0), 40, 0, cells=2))
    return Body(mesh, TEXTURE, 20, first, second)


def cube(first: RigidMotion, second: RigidMotion) -> Body:
    """Return a cube of 1 m."""
    return Body(as_mesh(trimesh.creation.box((1, 1, 1))), TEXTURE, 40, first, second)


def render(*bodies: Body):
    toward_light = np.array([0, 0, -1.0])
    return render_solids(SolidScene(list(bodies), INTRINSICS, toward_light, toward_light, 0.5), SIZE)


def test_a_wall_that_comes_nearer_expands() -> None:
    pair = render(wall(at(0, 0, 5), at(0, 0, 4)))
    expected = np.stack((X - 47.5, Y - 31.5), axis=-1) * 0.25
    np.testing.assert_allclose(pair.forward, expected, atol=1e-3)
    leaves = (np.abs(X - 47.5) * 1.25 > 47.5 + 1e-3) | (np.abs(Y - 31.5) * 1.25 > 31.5 + 1e-3)
    np.testing.assert_array_equal(pair.occluded_forward, leaves)
    assert not pair.occluded_backward.any()


def test_a_turn_moves_every_depth_by_the_same_homography() -> None:
    turn = rotation_matrix(0.05, -0.02, 0.1)
    seen = RigidMotion(turn, np.zeros(3))
    near, far = at(0.1, 0, 2), at(0, 0, 9)
    pair = render(wall(far, seen @ far), cube(near, seen @ near))
    rays = np.stack((X, Y, np.ones_like(X)), axis=-1) @ np.linalg.inv(INTRINSICS).T @ turn.T @ INTRINSICS.T
    expected = rays[..., :2] / rays[..., 2:] - np.stack((X, Y), axis=-1)
    np.testing.assert_allclose(pair.forward, expected, atol=2e-3)


def test_a_cube_hides_what_it_moves_over_and_uncovers_what_it_leaves() -> None:
    """Its front, 2 m away, is 40 px wide; 0.25 m are 10 px. Its near side face appears, as it leaves the middle."""
    pair = render(wall(at(0, 0, 8), at(0, 0, 8)), cube(at(0, 0, 2.5), at(0.25, 0, 2.5)))
    front = (np.abs(X - 47.5) < 20) & (np.abs(Y - 31.5) < 20)
    expected = np.where(front[..., None], [10.0, 0], 0)
    np.testing.assert_allclose(pair.forward, expected, atol=1e-3)
    covered = (X > 67.5) & (X < 77.5) & (np.abs(Y - 31.5) < 20)
    np.testing.assert_array_equal(pair.occluded_forward, covered)
    left = (X > 27.5) & (X < 37.5) & (np.abs(Y - 31.5) < 20)
    assert pair.occluded_backward[left].all()


def test_a_ball_that_turns_moves_most_in_its_middle_and_hides_one_side() -> None:
    """A ball of 1 m radius, 4 m away, turns by 0.5 rad to the left; 80 px is the focal length."""
    ball = as_mesh(trimesh.creation.icosphere(subdivisions=5, radius=1.0))
    body = Body(ball, TEXTURE, 40, at(0, 0, 4), at(0, 0, 4, (0.5, 0, 0)))
    pair = render(wall(at(0, 0, 9), at(0, 0, 9)), body)
    assert pair.forward[31:33, 47:49, 0].mean() == pytest.approx(-80 * np.sin(0.5) / (4 - np.cos(0.5)), rel=0.02)
    assert np.abs(pair.forward[:4, :4]).max() < 1e-3
    hidden = pair.occluded_forward & (np.hypot(X - 47.5, Y - 31.5) < 20.5)
    assert hidden.any()
    assert X[hidden].max() < 47.5  # it turns to the left, so what is near its left edge disappears


def test_a_gap_between_bodies_is_refused() -> None:
    with pytest.raises(ValueError, match="cover both images"):
        render(cube(at(0, 0, 3), at(0, 0, 3)))


def test_light_shades_a_face_that_turns_away() -> None:
    gray = np.full((128, 128, 3), 200, np.uint8)
    body = wall(at(0, 0, 5, (np.pi, 0, 0)), at(0, 0, 5, (np.pi + 0.8, 0, 0)))
    pair = render(Body(body.mesh, gray, 20, body.first, body.second))
    assert pair.first[32, 48].tolist() == pytest.approx([200] * 3, abs=1)
    assert pair.second[32, 48].tolist() == pytest.approx([200 * (0.5 + 0.5 * np.cos(0.8))] * 3, abs=2)


def test_an_atlas_samples_each_texture_mirrored_and_averages_where_texels_are_dense() -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 200
    atlas = TextureAtlas([ramp, stripes])
    owner = np.array([[0, 0, 0, 1, 1, 1]])
    place = np.array([[[10, 5], [63 + 20, 5], [-10, -7], [4, 9], [5, 9], [5, 9]]], np.float32)
    spacing = np.array([[1, 1, 1, 1, 1, 4]], np.float32)
    assert atlas.sample(owner, place, spacing)[0, :, 0].tolist() == [40, 172, 40, 200, 0, 100]


def test_a_triangle_lies_on_its_texture_along_the_axis_nearest_to_its_normal() -> None:
    corners = np.array([[[0, 0, 0], [1, 0, 0.2], [0, 2, 0.2]], [[3, 0, 0], [3, 0, 1], [3, 1, 0]]], np.float32)
    np.testing.assert_array_equal(box_projection(corners)[0], corners[0][:, [0, 1]])
    np.testing.assert_array_equal(box_projection(corners)[1], corners[1][:, [1, 2]])


def test_slant_compresses_a_texture() -> None:
    """A small triangle straight ahead, turned away from the camera by 60 degrees, whose cosine is one half."""
    flat = np.array([[-0.01, -0.01, 0], [0.01, -0.01, 0], [0, 0.02, 0]])
    turned = flat @ rotation_matrix(np.pi / 3, 0, 0).T
    corners = np.float32(np.stack((flat, turned)) + np.array([0, 0, 5]))
    np.testing.assert_allclose(compression(corners), [1, np.sqrt(2)], rtol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_a_closed_surface_whose_normals_point_outward(shape) -> None:
    mesh = shape(np.random.default_rng(3))
    assert all(part.volume > 0 for part in mesh.split(only_watertight=False))
    assert mesh.is_watertight or shape.__name__ == "furniture"


def test_a_mesh_has_the_asked_size_around_its_origin() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        corners = random_mesh(random, 0.7).corners.reshape(-1, 3)
        assert np.ptp(corners, axis=0).max() == pytest.approx(0.7, rel=1e-5)
        np.testing.assert_allclose(corners.min(axis=0) + corners.max(axis=0), 0, atol=1e-6)


def test_scenes_hold_motion_and_occlusion_of_many_sizes() -> None:
    library = procedural_library(1, 3, 256)
    pairs = [render_pair(library, 2, number, (128, 192), "solid") for number in range(20)]
    lengths = [float(np.percentile(np.linalg.norm(pair.forward, axis=-1), 95)) for pair in pairs]
    assert min(lengths) < 4
    assert max(lengths) > 24
    assert np.mean([pair.occluded_forward.mean() for pair in pairs]) > 0.03
    assert SCENE_CLASSES["solid"].share > 0


def test_without_embreex_the_commands_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    monkeypatch.setitem(sys.modules, "embreex", None)
    monkeypatch.setattr("mdflow_training.synthetic.solid_renderer.find_spec", lambda name: None)
    assert synthetic.main(["--out", str(tmp_path / "pairs"), "--procedural", "--count", "1"]) == 2
    assert "pip install embreex" in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()
    assert synthetic.main(["--out", str(tmp_path / "pairs"), "--procedural", "--count", "1", "--classes", "flat"]) == 0
    config = tmp_path / "config.yaml"
    config.write_text("{textures: procedural, phases: [{samples: 2, size: [64, 64], batch: 1, learning_rate: 1e-4}]}")
    assert pretrain.main(["--config", str(config), "--out", str(tmp_path / "run")]) == 1
    assert "pip install embreex" in caplog.text
