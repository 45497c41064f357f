# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest

from mdflow_training.evaluation.datasets import NOTHING_FOUND, find_benchmarks
from mdflow_training.flow_files import BadFile, write_flow, write_image

SIZE = (6, 8)


class Disk:
    """Writes small data sets in every layout."""

    def __init__(self, root):
        self.root = root

    def images(self, *names):
        for level, name in enumerate(names, start=1):
            write_image(self.root / name, np.full((*SIZE, 3), 10 * level, np.uint8))

    def flows(self, *names, unknown=()):
        for name in names:
            flow = np.ones((*SIZE, 2), np.float32)
            for pixel in unknown:
                flow[pixel] = np.nan
            write_flow(self.root / name, flow)

    def mask(self, name, *pixels):
        mask = np.zeros(SIZE, np.uint8)
        for pixel in pixels:
            mask[pixel] = 255
        write_image(self.root / name, mask)

    def find(self, folder="."):
        return find_benchmarks(self.root / folder)

    def pairs(self, set_name, folder="."):
        """Check that there is nothing wrong, and return the set's pairs as (first, second, ground truth) names."""
        benchmarks = self.find(folder)
        assert not benchmarks.problems
        return [
            tuple(path.relative_to(self.root).as_posix() for path in (pair.first, pair.second, pair.ground_truth))
            for pair in benchmarks.sets[set_name]
        ]


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "data")


@pytest.mark.parametrize(
    ("first", "second", "ground_truth"),
    [
        ("Grove/frame10.png", "Grove/frame11.png", "Grove/flow10.flo"),
        ("000010/000010_10.png", "000010/000010_11.png", "000010/occ_000010_10.png"),
        ("000010_10.png", "000010_11.png", "occ_000010_10.png"),
        ("000010_10.png", "000010_11.png", "flow_occ_000010_10.png"),
        ("0000004_img1.ppm", "0000004_img2.ppm", "0000004_flow.flo"),
        ("a_img1.png", "a_img2.png", "a_flow.flo"),
        ("frame_0001.png", "frame_0002.png", "frame_0001.flo"),
        ("alley_1/frame_0009.png", "alley_1/frame_0010.png", "alley_1/frame_0009.flo"),
        ("alley_1_frame_0001.jpg", "alley_1_frame_0002.jpg", "alley_1_frame_0001.pfm"),
        ("img1.png", "img2.png", "flow.flo"),
        ("000.png", "001.png", "000_flow_fw.flo"),
        ("forward_000.png", "forward_001.png", "forward_000.flo"),
        ("170000010.png", "170000017.png", "170000010_170000017.flo"),
        ("a/frame_15.png", "a/frame_17.png", "a/flow_15_17.flo"),
        ("im0.png", "im1.png", "flow0.flo"),
        ("x/before.png", "x/later.png", "x/flow_gt.flo"),
        ("000007/000007_10.png", "000007/000007_11.png", "000007/flow.png"),
    ],
)
def test_a_pair_is_found_by_its_names(disk, first, second, ground_truth):
    disk.images(f"set/{first}", f"set/{second}")
    disk.flows(f"set/{ground_truth}")
    assert disk.pairs("set") == [(f"set/{first}", f"set/{second}", f"set/{ground_truth}")]


def test_flat_folders_keep_many_pairs_apart(disk):
    disk.images("a_img1.png", "a_img2.png", "b_img1.png", "b_img2.png")
    disk.flows("a_flow.flo", "b_flow.flo")
    assert disk.pairs("data") == [
        ("a_img1.png", "a_img2.png", "a_flow.flo"),
        ("b_img1.png", "b_img2.png", "b_flow.flo"),
    ]


def test_frames_between_and_after_the_pairs_are_no_problem(disk):
    disk.images("k/000003_09.png", "k/000003_10.png", "k/000003_11.png", "k/000003_12.png", "k/preview.png")
    disk.flows("k/occ_000003_10.png")
    assert disk.pairs("k") == [("k/000003_10.png", "k/000003_11.png", "k/occ_000003_10.png")]


def test_each_subfolder_is_a_set_and_a_lone_set_is_named_after_its_folder(disk):
    disk.images("one/frame10.png", "one/frame11.png", "two/p/frame10.png", "two/p/frame11.png")
    disk.flows("one/flow10.flo", "two/p/flow10.flo")
    (disk.root / "README.md").write_text("not a set")
    (disk.root / "empty").mkdir()
    assert set(disk.find().sets) == {"one", "two"}
    assert [str(problem) for problem in disk.find().problems] == [f"{disk.root / 'empty'}: {NOTHING_FOUND}"]
    assert set(disk.find("one").sets) == {"one"}
    assert disk.find().sets["two"][0].name == "p/frame10"


def test_a_folder_without_pairs_says_so_once(disk):
    disk.images("hd1k/image_2/000000_0000.png")
    (disk.root / "hd1k" / "flow_occ").mkdir()
    with pytest.raises(BadFile) as error:
        disk.find("hd1k")
    assert str(error.value).count("no images with their flow") == 1


def test_kitti_visibility_comes_from_noc(disk):
    disk.images("k/000010_10.png", "k/000010_11.png")
    disk.flows("k/occ_000010_10.png", unknown=[(0, 0)])
    disk.flows("k/noc_000010_10.png", unknown=[(0, 0), (1, 2)])
    (pair,) = disk.find().sets["k"]
    loaded = pair.load()
    assert pair.ground_truth.name == "occ_000010_10.png"
    assert np.isnan(loaded.ground_truth[0, 0]).all() and np.isfinite(loaded.ground_truth[1, 2]).all()
    assert np.argwhere(~loaded.visible).tolist() == [[0, 0], [1, 2]]


def test_noc_alone_is_the_truth(disk):
    disk.images("k/000010_10.png", "k/000010_11.png")
    disk.flows("k/noc_000010_10.png")
    assert disk.pairs("k")[0][2] == "k/noc_000010_10.png"


def test_official_sintel(disk):
    scenes = disk.root / "training"
    for rendering in ("clean", "final"):
        disk.images(*(f"training/{rendering}/alley_1/frame_000{frame}.png" for frame in (1, 2, 3)))
    disk.flows("training/flow/alley_1/frame_0001.flo", "training/flow/alley_1/frame_0002.flo")
    for frame in (1, 2):
        disk.mask(f"training/occlusions/alley_1/frame_000{frame}.png", (1, 1))
        disk.mask(f"training/invalid/alley_1/frame_000{frame}.png", (2, 3))
    (disk.root / "test").mkdir()

    benchmarks = disk.find()
    assert set(benchmarks.sets) == {"data_clean", "data_final"}
    pair = benchmarks.sets["data_final"][1]
    assert pair.first == scenes.resolve() / "final/alley_1/frame_0002.png"
    assert pair.second == scenes.resolve() / "final/alley_1/frame_0003.png"
    loaded = pair.load()
    assert np.argwhere(np.isnan(loaded.ground_truth[..., 0])).tolist() == [[2, 3]]
    assert np.argwhere(~loaded.visible).tolist() == [[1, 1]]


@pytest.mark.parametrize("images", ["image_2", "colored_0", "image_0"])
def test_official_kitti(disk, images):
    disk.images(*(f"kitti/training/{images}/{name}.png" for name in ("000000_10", "000000_11", "000000_09")))
    disk.flows("kitti/training/flow_occ/000000_10.png", "kitti/training/flow_noc/000000_10.png")
    benchmarks = disk.find()
    (pair,) = benchmarks.sets["kitti"]
    assert (pair.first.name, pair.second.name) == ("000000_10.png", "000000_11.png")
    assert pair.visible_ground_truth.parent.name == "flow_noc"
    assert pair.load().visible.all()


def test_official_chairs_are_those_of_the_validation_split(disk):
    for number in ("00001", "00002", "00003"):
        disk.images(f"data/{number}_img1.ppm", f"data/{number}_img2.ppm")
        disk.flows(f"data/{number}_flow.flo")
    assert [len(pairs) for pairs in disk.find().sets.values()] == [3]
    (disk.root / "FlyingChairs_train_val.txt").write_text("1\n2\n1\n")
    assert disk.pairs("data") == [("data/00002_img1.ppm", "data/00002_img2.ppm", "data/00002_flow.flo")]


@pytest.mark.parametrize(
    ("images", "flows", "named"),
    [
        (["s/frame10.png"], ["s/flow10.flo"], "flow10.flo: frame 11 is missing beside frame10.png"),
        (["s/frame11.png", "s/frame09.png"], ["s/flow10.flo"], "flow10.flo: frame 10 is missing"),
        (["s/4_img2.png"], ["s/4_flow.flo"], "4_flow.flo: exactly two images must be beside it, not: 4_img2.png"),
        (["s/frame10.png", "s/frame11.png"], [], "frame10.png: no ground truth"),
        ([], ["s/flow10.flo"], "flow10.flo: no two images"),
    ],
)
def test_what_is_missing_is_named_and_the_rest_is_found(disk, images, flows, named):
    disk.images("good/frame10.png", "good/frame11.png", *images)
    disk.flows("good/flow10.flo", *flows)
    benchmarks = disk.find()
    assert set(benchmarks.sets) == {"good"}
    (problem,) = benchmarks.problems
    assert named in str(problem)


@pytest.mark.parametrize("unreadable", ["bad", "two/scene"])
def test_an_unreadable_folder_is_named_and_the_rest_is_found(disk, monkeypatch, unreadable):
    disk.images(
        "one/frame10.png", "one/frame11.png", "two/frame10.png", "two/frame11.png", "bad/x.png", "two/scene/x.png"
    )
    disk.flows("one/flow10.flo", "two/flow10.flo")
    entries = Path.iterdir

    def refuse(folder):
        if folder == disk.root / unreadable:
            raise PermissionError(13, "Permission denied", str(folder))
        return entries(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    benchmarks = disk.find()
    assert set(benchmarks.sets) == {"one", "two"}
    assert any("Permission denied" in str(problem) and unreadable in str(problem) for problem in benchmarks.problems)


def test_an_unreadable_file_is_named_on_reading(disk, monkeypatch):
    disk.images("k/000010_10.png", "k/000010_11.png")
    disk.flows("k/occ_000010_10.png")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("mdflow_training.evaluation.pair_discovery.is_kitti_flow", refuse)
    assert disk.pairs("k") == [("k/000010_10.png", "k/000010_11.png", "k/occ_000010_10.png")]


def test_in_official_layouts_a_missing_file_is_named_on_reading(disk):
    disk.images("kitti/training/image_2/000000_10.png", "kitti/training/image_2/000000_11.png")
    disk.flows("kitti/training/flow_occ/000001_10.png")
    without_ground_truth, without_image = disk.find().sets["kitti"]
    with pytest.raises(FileNotFoundError, match=r"flow_occ/000000_10\.png"):
        without_ground_truth.load()
    with pytest.raises(FileNotFoundError, match=r"image_2/000001_10\.png"):
        without_image.load()


def test_files_of_unequal_size_are_named(disk):
    disk.images("s/frame10.png", "s/frame11.png")
    write_flow(disk.root / "s/flow10.flo", np.zeros((6, 9, 2), np.float32))
    (pair,) = disk.find().sets["s"]
    with pytest.raises(BadFile, match=r"flow10\.flo: 9x6, but .*frame10\.png has 8x6"):
        pair.load()


def test_a_truth_that_knows_nothing_is_named(disk):
    disk.images("s/frame10.png", "s/frame11.png")
    write_flow(disk.root / "s/flow10.flo", np.full((*SIZE, 2), np.nan, np.float32))
    (pair,) = disk.find().sets["s"]
    with pytest.raises(BadFile, match=r"flow10\.flo: the flow is unknown"):
        pair.load()


def test_a_folder_without_data_is_refused(disk):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        disk.find()
    disk.images("frame10.png")
    disk.flows("flow10.flo")
    with pytest.raises(BadFile, match="frame 11 is missing"):
        disk.find()


def test_copies_and_files_of_a_mac_in_official_layouts_are_passed_over(disk):
    frames = [f"clean/alley_1/frame_{number:04d}.png" for number in (1, 2)]
    disk.images(*(f"sintel/{name}" for name in frames), "sintel/clean/alley_1/frame_0001 (1).png")
    disk.flows("sintel/flow/alley_1/frame_0001.flo")
    disk.images("kitti/image_2/000000_10.png", "kitti/image_2/000000_11.png", "kitti/image_2/._000000_10.png")
    disk.flows("kitti/flow_occ/000000_10.png")
    (disk.root / "__MACOSX").mkdir()
    assert disk.pairs("sintel_clean")[0][0] == "sintel/clean/alley_1/frame_0001.png"
    assert [first for first, *_ in disk.pairs("kitti")] == ["kitti/image_2/000000_10.png"]


def test_images_of_more_than_8_bits_are_no_flow_and_are_stretched(disk):
    """Blender writes images of 16 bit RGB, cameras use 12 or 14 bits of 16."""
    disk.flows("deep/frame_0001.flo")
    ramp = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 80
    for number in (1, 2):
        cv2.imwrite(str(disk.root / f"deep/frame_{number:04d}.png"), np.stack([ramp] * 3, axis=2))
    assert disk.pairs("deep") == [("deep/frame_0001.png", "deep/frame_0002.png", "deep/frame_0001.flo")]
    pair = disk.find().sets["deep"][0].load()
    assert np.ptp(pair.first) > 150, "8 bits of the whole range would leave 14"
    np.testing.assert_array_equal(pair.first, pair.second)


def test_a_change_of_light_between_two_images_of_16_bits_is_kept(disk):
    disk.flows("deep/frame_0001.flo")
    ramp = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 80 + 800
    for number in (1, 2):
        cv2.imwrite(str(disk.root / f"deep/frame_{number:04d}.png"), ramp * 4 ** (number - 1))
    pair = disk.find().sets["deep"][0].load()
    assert pair.second.mean() > 2 * pair.first.mean()


@pytest.mark.parametrize(
    "name",
    ["flow_bwd_0001.flo", "0000000-flow_10.flo", "backward.flo", "OpticalFlowIntoPast_0007_L.pfm", "flowBackward.flo"],
)
def test_a_flow_back_is_not_taken_for_the_flow(disk, name):
    disk.images("a.png", "b.png")
    disk.flows(name)
    with pytest.raises(BadFile, match="it is the flow back, from the second image to the first"):
        disk.find()


def test_flying_chairs_2_names_both_frames_of_a_flow(disk):
    for number in range(2):
        disk.images(f"{number:07d}-img_0.png", f"{number:07d}-img_1.png")
        disk.flows(f"{number:07d}-flow_01.flo", f"{number:07d}-flow_10.flo")
    assert disk.pairs("data") == [
        (f"{number:07d}-img_0.png", f"{number:07d}-img_1.png", f"{number:07d}-flow_01.flo") for number in range(2)
    ]


def test_the_trash_is_no_data_and_links_are_followed(disk):
    for folder in ("Grove", ".Trash-1000/files/Grove", "Grove/.ipynb_checkpoints"):
        disk.images(f"{folder}/frame10.png", f"{folder}/frame11.png")
    disk.flows("Grove/flow10.flo", ".Trash-1000/files/Grove/flow10.flo")
    assert len(disk.pairs("Grove")) == 1 and list(disk.find().sets) == ["Grove"]
    (disk.root / "linked").mkdir()
    (disk.root / "linked" / "set").symlink_to(disk.root / "Grove")
    assert len(disk.find("linked").sets["set"]) == 1


def test_data_below_a_hidden_folder_are_found(tmp_path):
    disk = Disk(tmp_path / ".cache" / "data")
    disk.images("Grove/frame10.png", "Grove/frame11.png")
    disk.flows("Grove/flow10.flo")
    assert len(disk.pairs("Grove")) == 1
