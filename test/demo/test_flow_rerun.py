# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0

import re

import cv2
import numpy as np
import pytest
from shifted_images import textured_image

from mdflow_ros.commands.flow_rerun import main


@pytest.fixture
def recording(tmp_path):
    """A folder of four images, 1 s apart."""
    folder, texture = tmp_path / "recording", textured_image(160, 240)
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{1_700_000_000 + number}.000000000.png"), np.roll(texture, 3 * number, axis=1))
    return folder


def refusal(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


def test_a_recording_becomes_a_rerun_file(recording, tmp_path, capsys):
    file = tmp_path / "flow.rrd"
    file.write_text("an older one")
    assert main([str(recording), "--save", str(file), "--quality", "fast", "--max-frame-gap", "1.5"]) == 0
    assert "3 pairs" in capsys.readouterr().out
    entities = set(re.findall(rb"/(?:image|flow|confidence|curves/\w+)", file.read_bytes()))
    assert entities >= {b"/image", b"/flow", b"/confidence", b"/curves/median_motion", b"/curves/mean_confidence"}
    assert {path.name for path in tmp_path.iterdir()} == {"recording", "flow.rrd"}


def test_a_recording_that_cannot_be_read_or_gives_no_pair_leaves_the_file_as_it_was(recording, tmp_path, capsys):
    file = tmp_path / "flow.rrd"
    file.write_text("precious")
    assert "does not exist" in refusal(capsys, tmp_path / "drive.mcap", "--save", file)
    assert "more than 0.5 s apart; raise --max-frame-gap" in refusal(capsys, recording, "--save", file)
    assert file.read_text() == "precious"


def test_the_file_is_never_the_recording_nor_part_of_it(recording, tmp_path, capsys):
    bag = tmp_path / "drive.mcap"
    bag.write_text("the only copy")
    assert "would overwrite or lie inside the recording" in refusal(capsys, bag, "--save", bag)
    assert bag.read_text() == "the only copy"
    inside = recording / "flow.rrd"
    assert "choose another file" in refusal(capsys, recording, "--save", inside, "--max-frame-gap", "2")
    assert not inside.exists()


def test_what_cannot_be_written_to_is_one_line(recording, tmp_path, capsys):
    assert f"there is no folder {tmp_path}/no" in refusal(capsys, recording, "--save", tmp_path / "no" / "x.rrd")
    assert "is a folder" in refusal(capsys, recording, "--save", tmp_path)
    assert "rerun+http://" in refusal(capsys, recording, "--max-frame-gap", "2", "--connect", "nonsense")
    with pytest.raises(SystemExit):
        main([str(recording), "--max-frame-gap", "0"])
