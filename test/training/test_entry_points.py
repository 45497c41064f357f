# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from mdflow_training import entry_points

COMMANDS = sorted(
    file.stem for file in (ROOT / "training").glob("*.py") if "mdflow_training.entry_points" in file.read_text()
)


def test_every_file_of_training_starts_a_command_that_exists():
    assert len(COMMANDS) >= 9
    for name in COMMANDS:
        assert (ROOT / "training" / "mdflow_training" / "commands" / f"{name}.py").is_file(), name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_package_is_one_line_that_names_the_fix(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def missing(module: str) -> None:
        raise ModuleNotFoundError(f"No module named 'tqdm' for {module}", name="tqdm.auto")

    monkeypatch.setattr(entry_points.importlib, "import_module", missing)
    assert getattr(entry_points, name)() == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "tqdm" in message and "pip install '.[training]'" in message


def test_an_import_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch):
    def missing(module: str) -> None:
        raise ModuleNotFoundError(module, name="mdflow_training.gone")

    monkeypatch.setattr(entry_points.importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        entry_points.pretrain()


def test_entry_points_need_no_training_package(tmp_path: Path):
    packages = {"torch", "tqdm", "pydantic"}
    code = f"import sys; import mdflow_training.entry_points; print(sorted({packages} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"
