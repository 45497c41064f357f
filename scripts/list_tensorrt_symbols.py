# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write down what the Python bindings of some TensorRT versions offer, without a GPU and without TensorRT itself.

Run it with Python 3.10 or 3.11, the only ones with bindings of all these versions; it needs gcc and readelf:

    python scripts/list_tensorrt_symbols.py > test/data/tensorrt_symbols.json

The bindings are a few megabytes from PyPI; the libraries that they would load are replaced by empty ones, which is
enough to ask their classes for their members.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {
    "8.6.1": "tensorrt-bindings",
    "10.3.0": "tensorrt-cu12-bindings",
    "11.4.0.106": "tensorrt-cu12-bindings",
}

CLASSES = (
    "Builder",
    "BuilderFlag",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IGridSampleLayer",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "ITensor",
    "ITimingCache",
    "InterpolationMode",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "Runtime",
    "SampleMode",
)
"""The classes that this package uses."""

LIST_MEMBERS = """
import json, sys
import tensorrt_bindings
print(json.dumps({name: [m for m in dir(getattr(tensorrt_bindings, name)) if m[0] != "_"] for name in sys.argv[1:]}))
"""


def list_symbols(package: str, version: str, folder: Path) -> dict[str, list[str]]:
    """Return the public members of `CLASSES` in one version.

    Raises:
        subprocess.CalledProcessError: pip, gcc, readelf or the bindings failed; their own words are on stderr.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"{package}=={version}"], check=True, stdout=sys.stderr)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    bindings = folder / "tensorrt_bindings" / "tensorrt.so"
    elf = subprocess.run(
        ["readelf", "--wide", "--dynamic", "--dyn-syms", str(bindings)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    # Functions of TensorRT that the bindings take addresses of when they load; libc's carry a version after an @.
    functions = re.findall(r"FUNC +GLOBAL +DEFAULT +UND +(?!_?Py)([^@\s]+)$", elf, re.MULTILINE)
    source = "".join(f"void {function}(void) {{}}\n" for function in functions)
    for library in re.findall(r"\[(libnv\S+)\]", elf):
        compiler = ["gcc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{library}", "-o", str(folder / library)]
        subprocess.run(compiler, check=True, input=source, text=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", LIST_MEMBERS, *CLASSES]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    members: dict[str, list[str]] = json.loads(listed)
    return members


def main() -> int:
    """Print the members by version and class, as JSON."""
    symbols = {}
    for version, package in WHEELS.items():
        with tempfile.TemporaryDirectory() as folder:
            symbols[version] = {
                name: " ".join(members) for name, members in list_symbols(package, version, Path(folder)).items()
            }
    print(json.dumps(symbols, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
