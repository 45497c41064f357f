# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Turn a FastFlowNet checkpoint (.pth) into a deployable model: an ONNX file and its card."""

import sys

from mdflow_training.entry_points import import_checkpoint as main

if __name__ == "__main__":
    sys.exit(main())
