#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Make or update .venv in this checkout; do nothing when it is current.
#
#   scripts/setup.sh              the node, the demo, and ROS 2 from PyPI wheels; no torch
#   scripts/setup.sh --training   also training and the tests
#
# Where ROS 2 from apt is sourced, that one is used and no ROS wheels are installed: .venv then sees the system's
# packages, and keeps numpy 1 if apt has numpy 1, for which apt's ROS messages are compiled.
#
# PYTHON=/path/to/python3.12 chooses the interpreter, 3.10 to 3.13.
# ROS_WHEELS=jazzy chooses the distribution of the wheels: kilted (the default) or jazzy. An existing .venv keeps its own.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
stamp=$venv/mdflow_setup.stamp            # what is installed: a key, and "plain" or "training"
unfinished=$venv/mdflow_setup.unfinished  # an installation is under way, or was interrupted

say() {
    printf 'setup: %s\n' "$@"
}

fail() {
    say "$@" >&2
    exit 1
}

# Prints where ROS 2 comes from, "wheels" or "apt", and the distribution.
find_ros() {
    local installed
    if [[ ${ROS_VERSION-2} == 1 ]]; then
        fail "ROS 1 ($ROS_DISTRO) is sourced in this shell. Use a shell without it."
    elif [[ -n ${ROS_DISTRO-} ]]; then # set by a sourced setup.bash, never by the wheels
        echo "apt $ROS_DISTRO"
    elif /usr/bin/python3 -I -c 'import rclpy' 2>/dev/null; then
        echo "apt system"
    elif installed=$(compgen -G '/opt/ros/*/share/rclpy/..'); then
        fail "ROS 2 is installed but not sourced in this shell. Run this first:" \
            "    source $(realpath "$(head -n 1 <<<"$installed")/..")/setup.bash"
    elif [[ $(uname -sm) == "Linux x86_64" ]]; then
        echo "wheels $wheels"
    else
        fail "ROS 2 wheels exist for Linux x86_64 only, this is $(uname -sm)." \
            "Install ROS 2 (https://docs.ros.org), source its setup.bash, and run this again."
    fi
}

# Prints version and real path of the Python $1 if the project runs on it, with ROS 2 as in $ros.
describe_python() {
    "$1" -c '
import sys
if not sys.argv[1].startswith("wheels "):
    import rclpy
if (3, 10) <= sys.version_info < (3, 14):
    # In an activated virtual environment, perhaps the one to be replaced: the interpreter behind it.
    print("{}.{}".format(*sys.version_info), sys._base_executable)
' "$ros" 2>/dev/null | grep .
}

find_python() {
    local candidate
    if [[ -n ${PYTHON-} ]]; then
        describe_python "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.10 to 3.13 that works with ROS 2 from $ros."
        return
    fi
    for candidate in python3 python3.1{2,1,0,3} /usr/bin/python3 ~/.pyenv/versions/3.1[0-3].*/bin/python; do
        describe_python "$candidate" && return
    done
    if [[ $ros == wheels* ]]; then
        fail "no Python 3.10 to 3.13 found. Install one (sudo apt install python3 python3-venv)," \
            "or name one: PYTHON=/path/to/python3.12 $0"
    fi
    fail "no Python 3.10 to 3.13 here can import rclpy, although ROS 2 ($ros) is sourced." \
        "Is conda or a virtual environment in the way? Try PYTHON=/usr/bin/python3 $0"
}

# Prints why .venv cannot be updated in place, or nothing if it can.
reason_to_rebuild() {
    if [[ -e $unfinished ]]; then
        echo "the last installation was interrupted"
    elif ! describe_python "$venv/bin/python" >/dev/null; then
        echo "its Python does not work (any more)"
    elif [[ -n ${PYTHON-} && $(describe_python "$venv/bin/python") != "${python_version} "* ]]; then
        echo "PYTHON asks for Python $python_version"
    elif [[ -e $stamp && $(sed -n 2p "$stamp") != "$ros" ]]; then
        echo "ROS 2 came from $(sed -n 2p "$stamp"), now it is $ros"
    fi
}

make_venv() {
    local options=()
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python lacks the venv module. Run: sudo apt install python$python_version-venv"
    [[ $ros == wheels* ]] || options=(--system-site-packages)
    rm -rf "${venv:?}/bin" # first, so that an interruption here is noticed
    rm -rf "$venv"
    say "making .venv with Python $python_version ($python)"
    mkdir -p "$venv"
    touch "$unfinished"
    "$python" -m venv "${options[@]}" "$venv"
}

install() {
    local extras=demo options=(--disable-pip-version-check) numpy_major
    [[ $(uname -m) != x86_64 ]] || extras+=,openvino # the fastest engine there without an NVIDIA GPU
    if $training; then
        extras+=,training,test
        say "installing everything with training and tests; torch and its libraries are several GB"
    else
        options+=(--quiet)
        say "installing the node and the demo, about 200 MB to download"
    fi
    if [[ $ros == wheels* ]]; then
        extras+=,ros-$wheels
    elif numpy_major=$("$python" -c 'import numpy; print(numpy.__version__.split(".")[0])' 2>/dev/null); then
        echo "numpy<$((numpy_major + 1))" >"$venv/mdflow_setup.constraints"
        options+=(--constraint "$venv/mdflow_setup.constraints")
    fi
    touch "$unfinished"
    rm -f "$stamp"
    # pip fails while it resolves and downloads, before it touches anything; only an interruption leaves half a package.
    "$venv/bin/python" -m pip install "${options[@]}" --editable "${root}[$extras]" ||
        { rm -f "$unfinished" && fail "pip failed, see above. If it could not download, is there a network?"; }
    "$venv/bin/python" -c 'import cv2, onnxruntime, rclpy.node, sensor_msgs.msg, mdflow_ros' ||
        fail "what was installed does not work, see above. Remove .venv and run this again."
    printf '%s\n' "$key" "$ros" "$($training && echo training || echo plain)" >"$stamp.new"
    mv "$stamp.new" "$stamp"
    rm "$unfinished"
}

installed_wheels=$(sed -n 's/^wheels //p' "$stamp" 2>/dev/null || true)
wheels=${ROS_WHEELS:-${installed_wheels:-kilted}}
[[ $wheels == kilted || $wheels == jazzy ]] || fail "ROS_WHEELS=$wheels: set it to kilted or jazzy."

training=false
case "${1-}" in
    "") ;;
    --training) training=true ;;
    -h | --help) sed -n '5,15s/^# \{0,1\}//p' "$0" && exit ;;
    *) fail "unknown argument '$1'. Usage: $0 [--training]" ;;
esac

trap 'exit 130' INT
trap 'exit 143' TERM

# One at a time. The lock goes with this process and its children.
mkdir -p "$root/build"
exec 9>"$root/build/setup.lock"
if ! flock --nonblock 9; then
    say "waiting for another setup to finish"
    flock 9
fi

ros=$(find_ros)
# The folder too: an editable installation points to it.
key=$(cd "$root" && { pwd && cat setup.py pyproject.toml; } | sha256sum | cut -d ' ' -f 1)
# What was installed for training stays installed.
[[ -e $stamp && $(sed -n 3p "$stamp") == training ]] && training=true

found=$(find_python)
python_version=${found%% *}
python=${found#* }
if [[ ! -e $venv ]]; then
    make_venv
elif reason=$(reason_to_rebuild) && [[ -n $reason ]]; then
    say "replacing .venv: $reason"
    make_venv
fi
if [[ ! -e $stamp || $(sed -n 1p "$stamp") != "$key" ]] || { $training && [[ $(sed -n 3p "$stamp") != training ]]; }; then
    install
fi
