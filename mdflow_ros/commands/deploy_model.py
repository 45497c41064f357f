# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Add a model to the store and load it in the running node, or roll back to the previous one.

    python training/deploy_model.py adaptations/robot/teacher.onnx
    python training/deploy_model.py adaptations/robot/teacher.onnx --node /left/mdflow
    python training/deploy_model.py --list
    python training/deploy_model.py --roll-back

The node validates the model and swaps it in between two frames. If it refuses, the node's model, its parameter and the
store are unchanged. A node that is started later loads the current model of the store with
``-p model:=STORE/current/teacher.onnx``; ``--offline`` only switches the store, for the next start.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mdflow_ros.deployment.deploy import deploy, list_versions, roll_back
from mdflow_ros.deployment.running_node import DEFAULT_NODE, NodeError
from mdflow_ros.deployment.store import ModelStore
from mdflow_ros.model.card import ModelError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 1 if nothing was changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("model", type=Path, nargs="?", help="ONNX file to deploy, with its card beside it")
    action.add_argument("--roll-back", action="store_true", help="go back to the model that the current one replaced")
    action.add_argument("--list", action="store_true", help="show all deployed models")
    parser.add_argument("--node", default=DEFAULT_NODE, help="full name of the running node (default: %(default)s)")
    parser.add_argument("--offline", action="store_true", help="only switch the store, without a running node")
    parser.add_argument("--store", type=Path, help="folder of the store (default: the user's data folder)")
    options = parser.parse_args(arguments)
    store, node = ModelStore(options.store), None if options.offline else options.node
    try:
        if options.list:
            print(list_versions(store))
        elif options.roll_back:
            print(roll_back(store, node))
        else:
            print(deploy(options.model, store, node))
    except (ModelError, NodeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
