# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU session with tiny settings on a CPU: it learns nothing useful, but each step runs and resumes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml

pytest.importorskip("torch")

from places import ROOT

from mdflow_training.commands.fetch_textures import main as fetch_textures
from mdflow_training.engine.checkpoint import load_state
from mdflow_training.synthetic.texture_pack import write_pack
from mdflow_training.synthetic.textures import load_library, procedural_library

SCRIPT = ROOT / "benchmarks" / "gpu_session.sh"
PART_BYTES = 16 * 2**20


def session(
    out: Path, *arguments: str, script: object = SCRIPT, cwd: Path | None = None, **environment: object
) -> subprocess.CompletedProcess[str]:
    variables = {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        [str(script), *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "OUT": str(out), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    """A folder like one that fetch_textures.py writes."""
    folder = tmp_path / "textures"
    for kind in ("photographs", "cutouts"):
        (folder / kind).mkdir(parents=True)
    for number, levels in enumerate(procedural_library(0, 12, 256).photographs):
        cv2.imwrite(str(folder / "photographs" / f"{number:02d}.png"), levels[0])
    for number in range(10):
        cutout = cv2.cvtColor(procedural_library(number, 1, 64).photographs[0][0], cv2.COLOR_BGR2BGRA)
        cutout[:16, :, 3] = 0
        cv2.imwrite(str(folder / "cutouts" / f"{number}.png"), cutout)
    (folder / "LICENSES.md").write_text("| package | license |\n")
    return folder


def test_a_pack_holds_every_picture_and_the_licenses(textures: Path, tmp_path: Path) -> None:
    pack = tmp_path / "textures.tar"
    assert fetch_textures(["--out", str(textures), "--pack", str(pack)]) == 0
    shutil.unpack_archive(pack, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "LICENSES.md").read_text() == (textures / "LICENSES.md").read_text()
    packed, whole = load_library(tmp_path / "unpacked"), load_library(textures)
    assert [len(packed.photographs), len(packed.cutouts)] == [len(whole.photographs), len(whole.cutouts)]
    assert (packed.cutouts[0][..., 3] == whole.cutouts[0][..., 3]).mean() > 0.95


def test_a_pack_shrinks_its_pictures_until_it_fits(textures: Path, tmp_path: Path) -> None:
    large, small = tmp_path / "large.tar", tmp_path / "small.tar"
    cv2.imwrite(str(textures / "photographs" / "large.png"), procedural_library(3, 1, 1024).photographs[0][0])
    write_pack(textures, large)
    limit = large.stat().st_size * 3 // 4
    assert write_pack(textures, small, limit) < 1024
    assert small.stat().st_size <= limit
    with pytest.raises(ValueError, match="more than 1000; raise the limit"):
        write_pack(textures, small, 1000)


def test_a_folder_without_pictures_is_not_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch_textures(["--out", str(tmp_path), "--pack", str(tmp_path / "x.tar")]) == 1
    assert "run training/fetch_textures.py first" in capsys.readouterr().err


def test_pretraining_resumes_on_another_machine_from_small_parts(textures: Path, tmp_path: Path) -> None:
    pack, config = tmp_path / "textures.tar", tmp_path / "config.yaml"
    write_pack(textures, pack)
    phase = {"samples": 16, "size": [64, 64], "batch": 2, "learning_rate": 1e-4, "finest_level": 3}
    settings = {"phases": [phase, phase], "validation_pairs": 1, "validation_size": [64, 64], "workers": 0}
    config.write_text(yaml.safe_dump(settings))
    first = session(tmp_path / "first", "pretrain", PACK=pack, CONFIG=config)
    assert first.returncode == 0, first.stderr
    parts = tmp_path / "first" / "parts"
    assert {"best.pth", "config.yaml", "curve.csv", "last.pt.aa", "last.pt.ab"} <= {
        file.name for file in parts.iterdir()
    }
    assert max(file.stat().st_size for file in parts.iterdir()) <= PART_BYTES

    shutil.copytree(parts, tmp_path / "second" / "parts")
    second = session(tmp_path / "second", "pretrain", PACK=pack, CONFIG=config)
    assert second.returncode == 0, second.stderr
    assert "resumed at step 8, 32 samples" in second.stdout + second.stderr
    assert load_state(tmp_path / "second" / "pretrain" / "last.pt")["samples"] == 32


def test_the_adaptation_study_runs_on_a_rendered_world(tmp_path: Path) -> None:
    tiny = ["student.updates=2", *(f"stage{number}.optimization.steps=2" for number in (1, 2, 3))]
    sizes = [f"stage{number}.optimization.batch_size=1" for number in (1, 2, 3)]
    settings = " ".join(f"--set {change}" for change in (*tiny, *sizes))
    result = session(tmp_path, "adapt", FRAMES=32, STUDY=settings)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "student raft_small" in (tmp_path / "parts" / "study_errors.json").read_text()


def test_without_a_gpu_the_check_says_so_and_an_unknown_step_shows_the_help(tmp_path: Path) -> None:
    if not shutil.which("nvidia-smi"):
        assert "nothing was measured" in session(tmp_path, "check").stderr
    for script, folder in ((SCRIPT, tmp_path), ("./gpu_session.sh", SCRIPT.parent)):
        unknown = session(tmp_path, "chekc", script=script, cwd=folder)
        assert unknown.returncode == 2
        assert "gpu_session.sh pretrain" in unknown.stderr


def test_files_are_found_from_where_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "mine.tar").write_text("no archive")
    session(tmp_path, "pretrain", cwd=tmp_path, OUT="here", PACK="mine.tar")
    assert (tmp_path / "here" / "unpacked").is_dir()
