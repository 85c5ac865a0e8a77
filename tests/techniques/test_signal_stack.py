"""A thread's stack for signals is kept; a signal is heard after OpenVINO's plug-ins have ended."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from techniques.backends.signal_stack import SignalStack, keeping_signal_stack, signal_stack

linux = pytest.mark.skipif(sys.platform != "linux", reason="the stack is asked for as Linux does")

_TWO_PLUGINS = """
import faulthandler, os, signal, sys
from pathlib import Path
faulthandler.enable()
import torch
from techniques.backends.openvino_runtime import OpenVino
from techniques.backends.protocol import Numerics
model, numerics = torch.nn.Linear(4, 2).eval(), Numerics(None, "fp32")
runtime, folder = OpenVino(), Path(sys.argv[1])
runtime.lower(model, torch.randn(1, 4), numerics, [], folder)
first, second = (runtime.load(folder, lambda: model, numerics, 1) for _ in range(2))
del first
del second
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def as_tuple(stack: SignalStack) -> tuple[int | None, int, int]:
    return stack.address, stack.flags, stack.size_bytes


@linux
def test_the_stack_is_what_it_was_before() -> None:
    before, memory = as_tuple(signal_stack()), ctypes.create_string_buffer(1 << 18)
    with keeping_signal_stack():
        other = SignalStack(ctypes.addressof(memory), 0, len(memory))
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None) == 0
        assert signal_stack().address == ctypes.addressof(memory)
    assert as_tuple(signal_stack()) == before


@linux
def test_a_signal_is_heard_after_two_plug_ins_ended_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-W", "ignore", "-c", _TWO_PLUGINS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["heard"]), done.stderr
