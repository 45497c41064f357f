# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The flow of a rendered world is exact, and is matched to a recording by the stamps of its frames."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mdflow_ros.recordings.source import parse_source
from mdflow_training.commands.robot_world import main
from mdflow_training.flow_files import read_flow
from mdflow_training.synthetic.plane_renderer import Rectangle, Texture, View, render_flow, render_image
from mdflow_training.synthetic.render_drive import DRIVES, match_recording, render_world
from mdflow_training.synthetic.worlds import WORLDS

SIZE = (96, 128)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    render_world(folder, 5, seed=0)
    return folder


@pytest.mark.parametrize("frame", [0, 66, 150])
@pytest.mark.parametrize("world", WORLDS)
def test_flow_leads_to_the_same_point_of_the_next_image(world: str, frame: int):
    scene, views = WORLDS[world].build(3), WORLDS[world].drive(frame + 1, SIZE, 3)
    first = render_image(scene.rectangles(frame), views[frame], SIZE)
    second = render_image(scene.rectangles(frame + 1), views[frame + 1], SIZE)
    flow = render_flow(scene.rectangles(frame), views[frame], views[frame + 1], SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    warped = cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    still = np.abs(first.astype(int) - second).mean()
    assert np.median(np.abs(first.astype(int) - warped)) < 0.25 * still


def test_the_nearer_rectangle_hides_the_farther_and_moves_by_itself():
    gray, white = (Texture.of(np.full((16, 16, 3), value, np.uint8), 16.0) for value in (90, 250))
    across, down = np.array([4.0, 0, 0]), np.array([0, 4.0, 0])
    far = Rectangle(np.array([-2.0, -2, 4]), across, down, gray, np.zeros(3))
    near = Rectangle(np.array([-0.25, -0.25, 2]), across / 8, down / 8, white, np.array([0.1, 0, 0]))
    view = View(np.array([[64.0, 0, 31.5], [0, 64, 31.5], [0, 0, 1]]), np.eye(3), np.zeros(3))
    for order in ([far, near], [near, far]):
        image, flow = render_image(order, view, (64, 64)), render_flow(order, view, view, (64, 64))
        assert image[32, 32, 0] == 250 and image[32, 4, 0] == 90
        np.testing.assert_allclose(flow[32, 32], (64 * 0.1 / 2, 0), atol=1e-4)
        np.testing.assert_allclose(flow[32, 4], 0, atol=1e-4)


def test_a_world_is_as_its_seed_says(world: Path, tmp_path: Path):
    render_world(tmp_path, 2, seed=0)
    name = "frames/000001.png"
    assert (tmp_path / name).read_bytes() == (world / name).read_bytes()
    assert len(list((world / "truth").glob("*.flo"))) == 4
    assert np.isfinite(read_flow(world / "truth" / "000000.flo")).all()


def test_truth_is_named_by_the_stamps_of_a_recording_that_lost_a_frame(world: Path, tmp_path: Path):
    recording = tmp_path / "recording"
    recording.mkdir()
    for number in (0, 1, 3, 4):
        shutil.copy(world / "frames" / f"{number:06d}.png", recording)
    stamps = [frame.stamp for _, frame in parse_source(f"images:{recording}").frames([])]
    assert match_recording(world, f"images:{recording}", []) == 2
    found = {path.name: path.read_bytes() for path in (world / "truth_of_recording").iterdir()}
    assert found == {
        f"{stamps[at]}_{stamps[at + 1]}.flo": (world / "truth" / f"{number:06d}.flo").read_bytes()
        for at, number in ((0, 0), (2, 3))
    }


@pytest.mark.parametrize("kind", DRIVES[1:])
def test_nothing_moves_in_a_parked_or_covered_camera(kind: str, tmp_path: Path):
    render_world(tmp_path, 2, seed=0, kind=kind)
    assert not read_flow(tmp_path / "truth" / "000000.flo").any()


def test_wrong_input_is_explained(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--out", str(tmp_path), "--match", "/no/such/bag"]) == 1
    assert "render one first" in capsys.readouterr().err
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for number in range(2):
        cv2.imwrite(str(foreign / f"{number}.png"), np.full((*SIZE, 3), 40 * number, np.uint8))
    assert main(["--out", str(world), "--match", f"images:{foreign}"]) == 1
    assert "shows no two frames" in capsys.readouterr().err
    assert list((world / "truth_of_recording").iterdir()), "what an earlier match made is still there"


def test_only_files_of_a_world_are_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--out", str(tmp_path), "--frames", "2"]
    assert main(arguments) == 0 and main(arguments) == 0
    mine = tmp_path / "frames" / "holiday.png"
    mine.touch()
    assert main(arguments) == 1
    assert "holiday.png is not a file of a rendered world: choose another --out" in capsys.readouterr().err
    assert mine.exists()
