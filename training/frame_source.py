# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Turn recordings into pairs of frames to train on and pairs held out: bags, videos, folders of images."""

import sys

from mdflow_training.entry_points import frame_source as main

if __name__ == "__main__":
    sys.exit(main())
