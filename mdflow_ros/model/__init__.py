# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The deployable model: FastFlowNet's architecture, its ONNX graph and its card."""
