"""The fingerprint changes with what decides a record's worth, and with nothing else."""

from __future__ import annotations

import pytest

from bench.analysis.comparable import (
    Seen,
    changed_versions,
    differences,
    fingerprint,
    how_decisive,
    machine_name,
    machine_names,
)

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


def test_a_machine_is_one_however_many_of_its_cores_a_stage_had():
    found = machine_names(
        {
            "evaluate": {"cpu": {"model": "EPYC", "logical_cores": 4}, "cpus": 1},
            "infer": {"cpu": {"model": "EPYC", "logical_cores": 4, "governor": "powersave"}, "cpus": 2},
            "on a GPU": {"cpu": {"model": "EPYC", "logical_cores": 4}, "accelerators": [{"name": "H200"}]},
            "elsewhere": {"cpu": {"model": "EPYC", "logical_cores": 8}, "cpus": 4},
        }
    )
    assert found == {
        **dict.fromkeys(("evaluate", "infer", "on a GPU"), "EPYC, 2 cores, H200"),
        "elsewhere": "EPYC, 4 cores",
    }


def test_a_record_that_was_merged_keeps_the_name_of_its_machine():
    environment = {"cpu": {"model": "EPYC"}, "cpus": 1, "machine": "EPYC, 2 cores, host 2"}
    assert machine_name(environment) == "EPYC, 2 cores, host 2"
    assert machine_names({"a": environment}) == {"a": "EPYC, 2 cores, host 2"}
    assert machine_name({"cpu": {"model": "EPYC"}, "cpus": 1}) == "EPYC, 1 core"


def test_changed_versions_name_what_both_have_before_what_one_lacks():
    before, after = {"a": "1", "b": "1", "c": "2"}, {"b": "1", "c": "3", "d": "1"}
    assert changed_versions(before, after) == ["c 2 -> 3", "a 1 -> none", "d none -> 1"]


def test_a_run_is_known_by_its_own_launches_then_by_boards_threads_and_how_many_saw_it() -> None:
    board = {**ENVIRONMENT, "accelerators": [{"name": "some board"}]}
    one_thread = {**ENVIRONMENT, "threads": 1}
    taken_over = Seen({**board, "libraries": {"torch": "2.12.0"}, "threads": 8}, launches=90, own=False)
    ordered = [
        Seen({**board, "threads": 1}),
        Seen(ENVIRONMENT, launches=7),
        Seen({**ENVIRONMENT, "libraries": {"torch": "2.12.0"}}, launches=3),
        Seen(one_thread, launches=50),
        taken_over,
    ]
    for seen in (ordered, ordered[::-1]):
        assert sorted(seen, key=how_decisive, reverse=True) == ordered


def test_what_a_run_is_known_by_does_not_depend_on_the_order_of_reading() -> None:
    alike = [Seen({**ENVIRONMENT, "python": version}) for version in ("3.11.7", "3.12.1", "3.13.0")]
    assert max(alike, key=how_decisive) == max(alike[::-1], key=how_decisive)
