"""hyperfine's files: each time is a launch, and what failed is no timing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.interchange.imports import MAX_LAUNCHES, enter_file
from bench.results.store import Store

TIMES = [0.101, 0.102, 0.099, 0.100, 0.103, 0.098]


def command(name: str, times: list[float] | None = None, **more: Any) -> dict[str, Any]:
    """Return a command as hyperfine 1.20 writes it."""
    times = TIMES if times is None else times
    return {
        **{"command": name, "mean": 0.1, "stddev": None, "median": 0.1005, "user": 0.05, "system": 0.01},
        **{"min": min(times), "max": max(times), "times": times},
        **{"memory_usage_byte": [1_000_000] * len(times), "exit_codes": [0] * len(times)},
        **more,
    }


@pytest.fixture
def enter(tmp_path: Path):
    """Enter a file with these commands; returns what was entered, and the store."""

    def entered(*commands: dict[str, Any], **options: Any):
        path = tmp_path / "out.json"
        path.write_text(json.dumps({"results": list(commands)}))
        found = enter_file(path, tmp_path / "results", **options)
        return found, Store.open(tmp_path / "results", create=False)

    return entered


def values(store: Store, run_id: str, name: str, metric: str = "imported_s") -> list[float]:
    (stage,) = [stage for stage in store.stages(run_id) if stage.label == name]
    return store.launch_values(run_id, stage.key, metric)


def test_each_process_is_a_launch_with_its_time_and_memory(enter) -> None:
    found, store = enter(command("sleep 0.1"))
    assert values(store, found.run_id, "sleep 0.1") == TIMES
    assert values(store, found.run_id, "sleep 0.1", "peak_rss_bytes") == [1e6] * 6
    assert found.text.startswith("1 benchmark, 6 launches, from ") and found.text.endswith("(hyperfine)")


def test_a_process_that_failed_is_a_failed_launch(enter) -> None:
    found, store = enter(command("false", exit_codes=[0, 1, 0, None, 0, 0]))
    launches = store.launches(found.run_id)
    assert launches["state"].tolist() == ["ok", "failed", "ok", "failed", "ok", "ok"]
    assert launches["reason"].tolist()[1::2] == ["exit code 1", "ended by a signal", ""]
    assert len(values(store, found.run_id, "false")) == 4


def test_commands_of_one_name_are_told_apart_by_parameters_or_a_number(enter) -> None:
    found, store = enter(
        command("sort", parameters={"threads": "4"}),
        command("make -j 8", parameters={"threads": "8"}),
        *(command("ls"), command("ls")),
    )
    labels = [stage.label for stage in store.stages(found.run_id)]
    assert labels == ["sort [threads=4]", "make -j 8", "ls", "ls (2)"]


def test_of_very_many_launches_the_first_are_kept(enter) -> None:
    found, store = enter(command("true", [0.001] * (MAX_LAUNCHES + 5)))
    assert len(values(store, found.run_id, "true")) == MAX_LAUNCHES
    assert any("only the first 1,000 launches are kept of true" in note for note in found.notes)


def test_a_machine_that_nobody_names_is_like_no_other(enter) -> None:
    first, store = enter(command("ls"))
    second, _ = enter(command("ls", times=[0.2] * 6))
    assert any("--machine NAME says it" in note for note in first.notes)
    models = [
        environment["cpu"]["model"]
        for run_id in (first.run_id, second.run_id)
        for environment in store.environments(run_id).values()
    ]
    assert len(set(models)) == 2
    named, _ = enter(command("ls", times=[0.3] * 6), machine="builder")
    (environment,) = store.environments(named.run_id).values()
    assert environment["cpu"] == {"model": "builder"}
