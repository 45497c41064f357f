# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the network as an ONNX graph from its weights, without torch."""
