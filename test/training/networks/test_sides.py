# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from mdflow_training.networks.sides import nearest_side, side_within


def test_sides_are_multiples_of_64_and_no_smaller_than_raft_takes():
    assert [nearest_side(side) for side in (1, 150.0, 161.0, 223.9, 224.1)] == [128, 128, 192, 192, 256]
    assert [side_within(side) for side in (1, 191.9, 192.0, 255)] == [128, 128, 192, 192]
