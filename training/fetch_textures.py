# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Get the photographs and cut-outs that training pairs are made of, from Debian packages with open licenses."""

import sys

from mdflow_training.entry_points import fetch_textures as main

if __name__ == "__main__":
    sys.exit(main())
