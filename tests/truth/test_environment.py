"""The environment names what decides results, and no host or user."""

from __future__ import annotations

import getpass
import json
import socket

from bench.instruments.environment import describe


def test_the_environment_is_plain_json_with_cpu_memory_and_versions():
    found = describe()
    assert json.loads(json.dumps(found)) == found
    assert found["cpu"]["model"] and found["cpu"]["logical_cores"] >= 1
    assert found["memory_bytes"] > 0
    assert found["libraries"]["torch"]


def test_neither_host_nor_user_is_in_the_environment():
    text = json.dumps(describe())
    assert socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text
