# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0

import re

import cv2
import numpy as np
from shifted_images import textured_image

from mdflow_ros.commands.flow_rerun import main


def test_a_recording_becomes_a_rerun_file(tmp_path, capsys):
    texture = textured_image(160, 240)
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.roll(texture, 3 * number, axis=1))
    file = tmp_path / "flow.rrd"
    assert main([str(tmp_path), "--save", str(file), "--quality", "fast"]) == 0
    assert "3 pairs" in capsys.readouterr().out
    entities = set(re.findall(rb"/(?:image|flow|confidence|curves/\w+)", file.read_bytes()))
    assert entities >= {b"/image", b"/flow", b"/confidence", b"/curves/median_motion", b"/curves/mean_confidence"}


def test_a_missing_recording_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path / "drive.mcap"), "--save", str(tmp_path / "flow.rrd")]) == 1
    assert "does not exist" in capsys.readouterr().err
