# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write ``docs/parameters.md``, ``docs/navigation/parameters.md`` and ``config/flow.yaml`` from the declarations.

Run it in the root of a checkout after a change: ``python -m mdflow_ros.node.parameter_docs``.
"""

from __future__ import annotations

import importlib
import json
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.entry_points import CONSUMERS
from mdflow_ros.node.parameters import DECLARATIONS, Declaration

LAUNCHED = ("autostart", "build_only")
"""Parameters that are left out of the parameter file, because the launch file or the command line sets them."""

COLUMNS = """\
| parameter | default | values | when | meaning |
|---|---|---|---|---|
"""

TABLE_HEAD = """\
# Parameters of the flow node

Written by `python -m mdflow_ros.node.parameter_docs` from `mdflow_ros/node/parameters.py`.

*Live* parameters take effect immediately, *start* parameters can only be set at startup, and the others take effect
when the node is configured (`model` and `backend` also by the service `~/reload_model`). `ros2 param describe /mdflow
NAME` prints the same.

The QoS of the subscriptions follows what the camera offers. `qos_overrides./TOPIC.subscription.reliability`
(`auto`, `reliable`, `best_effort`), `.durability` (`auto`, `volatile`, `transient_local`), `.history` (`keep_last`,
`keep_all`) and `.depth` override it; those of the publishers are `qos_overrides./mdflow/flow.publisher.reliability`,
`.history` and `.depth`. TOPIC is the name after remapping, such as `/camera/image_raw`.

"""

CONSUMERS_HEAD = """\
# Parameters of the consumers

Written by `python -m mdflow_ros.node.parameter_docs` from `mdflow_ros/navigation/nodes/`.

*Live* parameters take effect immediately; *start* parameters can only be set at startup. `config/navigation.yaml` holds
those that are worth setting.
"""

FILE_HEAD = """\
# Parameters of the flow node, written by `python -m mdflow_ros.node.parameter_docs`.
# Arguments of flow.launch.py override these values.
/**:
  ros__parameters:
"""


def table() -> str:
    """Return the contents of ``docs/parameters.md``."""
    return TABLE_HEAD + _rows(DECLARATIONS)


def consumer_tables() -> str:
    """Return the contents of ``docs/navigation/parameters.md``."""
    parts = [CONSUMERS_HEAD]
    for name in CONSUMERS:
        # By name, because no module may import a command.
        module = importlib.import_module(f"mdflow_ros.navigation.nodes.{name}_node")
        parameters = getattr(module, f"{name.title().replace('_', '')}Node").PARAMETERS
        live = {key: replace(declaration, live=True) for key, declaration in parameters.items()}
        parts.append(f"## {name}\n\n{_rows(live)}")
    return "\n".join(parts)


def parameter_file() -> str:
    """Return the contents of ``config/flow.yaml``."""
    parts = []
    for name, d in DECLARATIONS.items():
        if name not in LAUNCHED:
            comment = f"{d.description}{f' One of {d.values}.' if d.choices else ''} {d.effect}"
            parts += textwrap.wrap(
                comment, 115, initial_indent="    # ", subsequent_indent="    # ", break_on_hyphens=False
            )
            parts.append(f"    {name}: {_yaml(d.default)}")
    return FILE_HEAD + "\n".join(parts) + "\n"


def _rows(declarations: Mapping[str, Declaration]) -> str:
    rows = (
        f"| `{name}` | `{_yaml(d.default)}` | {_values(d)} | {_when(d)} | {d.description} |\n"
        for name, d in declarations.items()
    )
    return COLUMNS + "".join(rows)


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _values(declaration: Declaration) -> str:
    return f"`{declaration.values}`" if declaration.choices else declaration.values


def _when(declaration: Declaration) -> str:
    if declaration.read_only:
        return "start"
    return "live" if declaration.live else ""


if __name__ == "__main__":
    replace_file(Path("docs/parameters.md"), table().encode())
    replace_file(Path("docs/navigation/parameters.md"), consumer_tables().encode())
    replace_file(Path("config/flow.yaml"), parameter_file().encode())
