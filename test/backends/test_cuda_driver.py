# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import ctypes
from types import SimpleNamespace

import pytest

from mdflow_ros.backends.backend import BackendUnavailable
from mdflow_ros.backends.tensorrt import cuda_driver
from mdflow_ros.backends.tensorrt.cuda_driver import Gpu, find_gpu


def stand_in_driver(monkeypatch, failing=None, code=0):
    """Replace the driver by a stand-in for an Orin's, of which one call fails."""

    def fail(name, work):
        def call(*arguments):
            if name == failing:
                return code
            work(*arguments)
            return 0

        return call

    def set_value(reference, value):
        reference._obj.value = value

    def give_error_name(error, reference):
        known = {100: b"CUDA_ERROR_NO_DEVICE"}
        set_value(reference, known.get(error))
        return 0 if error in known else 1

    calls = {
        "cuInit": lambda flags: None,
        "cuDeviceGet": lambda device, index: set_value(device, index),
        "cuDeviceGetName": lambda name, length, device: setattr(name, "value", b"Orin"),
        "cuDeviceGetAttribute": lambda value, which, device: set_value(value, {75: 8, 76: 7}[which]),
    }
    driver = SimpleNamespace(**{name: fail(name, work) for name, work in calls.items()}, cuGetErrorName=give_error_name)
    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", lambda name: driver)


def test_it_finds_name_and_compute_capability(monkeypatch):
    stand_in_driver(monkeypatch)
    assert find_gpu() == Gpu("Orin", "8.7")


def test_without_a_driver_it_says_so(monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", "libno-such-driver.so.1")
    with pytest.raises(BackendUnavailable, match=r"there is no NVIDIA driver here .*libno-such-driver\.so\.1"):
        find_gpu()


@pytest.mark.parametrize(
    ("failing", "code", "complaint"),
    [
        ("cuInit", 100, r"cuInit returned CUDA_ERROR_NO_DEVICE \(100\)"),
        ("cuInit", 4242, r"cuInit returned an unknown error \(4242\)"),
        ("cuDeviceGet", 100, "cuDeviceGet returned CUDA_ERROR_NO_DEVICE"),
        ("cuDeviceGetAttribute", 100, "cuDeviceGetAttribute returned CUDA_ERROR_NO_DEVICE"),
    ],
)
def test_a_driver_that_fails_is_quoted(monkeypatch, failing, code, complaint):
    stand_in_driver(monkeypatch, failing, code)
    with pytest.raises(BackendUnavailable, match=complaint):
        find_gpu()


def test_the_real_driver_or_its_absence_is_no_crash():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(BackendUnavailable):
            find_gpu()
    else:
        assert float(find_gpu().compute_capability) > 0
