"""The fingerprint changes with what decides a record's worth, and with nothing else."""

from __future__ import annotations

import pytest

from bench.analysis.comparable import differences, fingerprint

ENVIRONMENT = {
    "cpu": {"model": "some"},
    "cpu_limits": {},
    "accelerators": [],
    "threads": 2,
    "cpu_quota": None,
    "allocator": "glibc 2.36",
    "libraries": {"torch": "2.13.0"},
    "python": "3.11.7",
    "os": "Linux 6.1",
    "git": {"revision": "abc", "changed": False},
}


@pytest.mark.parametrize("key", [key for key in ENVIRONMENT if key not in ("os", "git")])
def test_what_decides_changes_the_fingerprint_and_is_named(key):
    changed = {**ENVIRONMENT, key: "another"}
    assert fingerprint(changed) != fingerprint(ENVIRONMENT)
    assert differences(ENVIRONMENT, changed) == [key]


def test_revision_and_kernel_do_not():
    changed = {**ENVIRONMENT, "os": "Linux 6.2", "git": None, "load": 3}
    assert fingerprint(changed) == fingerprint(ENVIRONMENT) and not differences(ENVIRONMENT, changed)
