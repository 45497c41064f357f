# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Put a model into the store and have the running node take it over, or go back to the one before.

    python training/deploy_model.py adaptations/robot/teacher.onnx
    python training/deploy_model.py adaptations/robot/teacher.onnx --node /left/mdflow
    python training/deploy_model.py --list
    python training/deploy_model.py --roll-back

The node validates the model and swaps it in between two frames. If it refuses, nothing has changed: neither the node's
model nor its parameter nor the store. A node that is started later takes the current model of the store with
``-p model:=STORE/current/teacher.onnx``; ``--offline`` switches the store alone, for the next start.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mdflow_ros.model.card import ModelError
from mdflow_training.deployment.model_store import ModelStore, Version
from mdflow_training.deployment.running_node import DEFAULT_NODE, NodeError, connect

OFFLINE = "no node was told; started later, it takes the model with -p model:={pointer}/teacher.onnx"


def deploy(model: Path, store: ModelStore, node: str | None = DEFAULT_NODE) -> str:
    """Make a model the current one, in the store and in the node.

    Args:
        model: the ONNX file, its card beside it.
        store: gets a copy.
        node: full name of the running node; None switches the store alone.

    Returns:
        What happened, in a sentence.

    Raises:
        ModelError: the model is missing or damaged.
        NodeError: the node does not answer or refused it; node and store are as they were.
        OSError: the store cannot be written.
    """
    before = store.current()
    version = store.add(model)
    try:
        answer = _switch(version, store, node)
    except BaseException:
        if version != before:
            store.remove(version)
        raise
    return f"{version.name} is the current model of {store.folder}: {answer}"


def roll_back(store: ModelStore, node: str | None = DEFAULT_NODE) -> str:
    """Go back to the model that the current one has replaced; see `deploy` for arguments and errors."""
    version = store.previous()
    if version is not None:
        version.card()
    answer = _switch(version, store, node)
    return f"rolled back to {'the bundled model' if version is None else version.name}: {answer}"


def _switch(version: Version | None, store: ModelStore, node: str | None) -> str:
    """Tell the node first: what it refuses never becomes current."""
    if node is None:
        answer = OFFLINE.format(pointer=store.pointer)
    else:
        with connect(node) as running:
            answer = running.load("" if version is None else str(version.model.resolve()))
    store.make_current(version)
    return answer


def list_versions(store: ModelStore) -> str:
    """Return a line for each version, the current one marked."""
    current = store.current()
    lines = [f"{' ' if current else '*'} bundled model"]
    for name in store.names():
        mark = "*" if current is not None and name == current.name else " "
        lines.append(f"{mark} {name}  {_describe(store, name)}".rstrip())
    return "\n".join(lines)


def _describe(store: ModelStore, name: str) -> str:
    try:
        version = store.version(name)
        card = version.card()
    except ModelError as error:
        return f"damaged: {error}"
    return f"{version.deployed}  {card.name}  {card.metrics.get('verdict', '')}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 1 if nothing was changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("model", type=Path, nargs="?", help="ONNX file to deploy, its card beside it")
    action.add_argument("--roll-back", action="store_true", help="go back to the model that the current one replaced")
    action.add_argument("--list", action="store_true", help="show all deployed models")
    parser.add_argument("--node", default=DEFAULT_NODE, help="full name of the running node (default: %(default)s)")
    parser.add_argument("--offline", action="store_true", help="switch the store alone, without a running node")
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
