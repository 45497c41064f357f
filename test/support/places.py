# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Where the tests find the checkout and the shared real data."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SHARED = ROOT.parent / "shared"
"""Recorded data beside the checkout; tests that need it are skipped where it is absent."""
