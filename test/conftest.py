# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that a shell starts in the background inherits an ignored Ctrl-C, which no process of it can catch.
    signal.signal(signal.SIGINT, signal.default_int_handler)
