# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Fetching textures: licenses are checked, each picture is kept once, and files that are not pictures are skipped."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from process_helpers import small_disk

pytest.importorskip("tqdm")

from mdflow_training.commands import fetch_textures
from mdflow_training.synthetic import texture_packages
from mdflow_training.synthetic.texture_packages import Package, collect, table, unpack

PACKAGE = Package("some-pictures", ("CC0",), "pictures")


def picture(seed: int, side: int = 600) -> np.ndarray:
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8), (side, side))


def apt_that_gives(monkeypatch: pytest.MonkeyPatch, copyright_text: str) -> None:
    def run(command: list[str], cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        if command[0] == "apt-get":
            (Path(cwd) / "some-pictures_1.deb").touch()
        else:
            folder = Path(command[3]) / "usr/share/doc/some-pictures"
            folder.mkdir(parents=True)
            (folder / "copyright").write_text(copyright_text)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(texture_packages.subprocess, "run", run)


def test_a_package_with_the_expected_license_is_unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apt_that_gives(monkeypatch, "License: CC0")
    assert unpack(PACKAGE, tmp_path) == tmp_path / "usr/share/pictures"


def test_a_package_with_another_license_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apt_that_gives(monkeypatch, "License: CC-BY-NC-4.0")
    with pytest.raises(RuntimeError, match="CC0"):
        unpack(PACKAGE, tmp_path)


def test_each_picture_is_kept_once_and_shrunk(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    cv2.imwrite(str(source / "small.png"), picture(1))
    cv2.imwrite(str(source / "large.png"), picture(1, 2000))
    cv2.imwrite(str(source / "other.png"), picture(2))
    cv2.imwrite(str(source / "other_normal.png"), picture(3))
    cv2.imwrite(str(source / "icon.png"), picture(4, 32))
    (source / "broken.png").write_bytes(b"no picture")
    assert collect(PACKAGE, source, tmp_path / "out", []) == 2
    kept = sorted((tmp_path / "out" / "photographs").iterdir())
    assert [max(cv2.imread(str(file)).shape) for file in kept] == [texture_packages.MAX_PHOTOGRAPH_SIDE, 600]


def test_a_picture_that_does_not_fit_on_the_disk_is_not_counted(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "source.png"), picture(1))
    with small_disk(1000), pytest.raises(OSError, match="File too large"):
        collect(PACKAGE, tmp_path, tmp_path / "out", [])
    assert not list((tmp_path / "out" / "photographs").iterdir())


def test_cutouts_need_a_transparent_ground(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    cutout = np.dstack((picture(1, 100), np.zeros((100, 100), np.uint8)))
    cutout[20:80, 20:80, 3] = 255
    cv2.imwrite(str(source / "cutout.png"), cutout)
    cv2.imwrite(str(source / "opaque.png"), picture(2, 100))
    stamps = Package("stamps", ("GPL-2",), "stamps", cutouts=True)
    assert collect(stamps, source, tmp_path / "out", []) == 1
    assert "| tuxpaint-stamps-default | GPL-2 | 3 cut-outs |" in table({"tuxpaint-stamps-default": 3})


def two_packages(monkeypatch: pytest.MonkeyPatch, source: Path, *failing: str) -> None:
    """Packages of one picture each; those named ``failing`` cannot be downloaded."""

    def unpacked(package: Package, folder: Path) -> Path:
        if package.name in failing:
            raise RuntimeError("no network")
        pictures = source / package.name
        pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(pictures / "new.png"), picture(len(package.name)))
        return pictures

    packages = tuple(Package(name, ("CC0",), "pictures") for name in ("one", "three"))
    monkeypatch.setattr(fetch_textures, "PACKAGES", packages)
    monkeypatch.setattr(fetch_textures, "unpack", unpacked)


@pytest.mark.parametrize("failing", [("one",), ("one", "three")])
def test_a_failed_download_leaves_the_pictures_that_are_there(
    failing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "textures"
    (out / "photographs").mkdir(parents=True)
    (out / "photographs" / "old.jpg").write_bytes(b"old")
    (out / "LICENSES.md").write_text("old")
    two_packages(monkeypatch, tmp_path / "source", *failing)
    assert fetch_textures.main(["--out", str(out)]) == 1
    assert sorted(path.name for path in out.rglob("*")) == ["LICENSES.md", "old.jpg", "photographs"]
    assert (out / "LICENSES.md").read_text() == "old"


def test_an_empty_folder_gets_what_can_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    two_packages(monkeypatch, tmp_path / "source", "three")
    assert fetch_textures.main(["--out", str(tmp_path / "out")]) == 1
    assert [path.name for path in (tmp_path / "out" / "photographs").iterdir()] == ["one-0000.jpg"]


def test_a_download_replaces_pictures_and_licenses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "photographs").mkdir(parents=True)
    (out / "photographs" / "old.jpg").write_bytes(b"old")
    (out / "LICENSES.md").write_text("old")
    (tmp_path / "reader").hardlink_to(out / "LICENSES.md")
    two_packages(monkeypatch, tmp_path / "source")
    assert fetch_textures.main(["--out", str(out)]) == 0
    names = sorted(path.name for path in (out / "photographs").iterdir())
    assert names == ["one-0000.jpg", "three-0000.jpg"]
    assert (tmp_path / "reader").read_text() == "old", "whoever reads it meanwhile sees half a file"
    assert (out / "LICENSES.md").read_text().startswith("| package |")
