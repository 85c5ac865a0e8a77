"""Merging runs: shards become whole, machines stay apart, and only what belongs together is merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import StoreError
from bench.records import Measurement, Result
from bench.results.folder import alone_in
from bench.results.merging import merge
from bench.results.parts import find_part
from bench.results.store import Store
from reports.frames.run import read_frames
from reports.frames.view import read
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build

OTHER = {**ENVIRONMENT, "cpu": {"model": "Another CPU", "cores": 8}}


def shard(number: int, of: int = 2, split: str = "abc") -> dict[str, Any]:
    return {"shard": {"number": number, "of": of, "split": split}}


def run(
    folder: Path,
    name: str,
    *,
    later: str = "",
    finish: bool = True,
    identity: str = "identity",
    **made_up: Any,
) -> Path:
    """Enter a run into a folder of its name, which may have the runs that it is `later` than."""
    entered = {"run_id": f"20261129-{name}{later}", "finish": finish, "identity": identity}
    build(folder / name, Synthetic(**made_up), **entered).close()
    return folder / name


def merged(folder: Path, *places: Path, partial: bool = False) -> Store:
    said: list[str] = []
    parts = [find_part(place, partial=partial) for place in places]
    run_id = merge(parts, folder / "into", said.append)
    assert sum(line.endswith(("artifact", "artifacts")) for line in said) == len(places)
    store = Store.open(folder / "into", create=False)
    assert store.find_run(None) == run_id
    return store


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Path, Path]:
    """Two shards of one matrix, which share the timings of their structures, on two machines."""
    first = run(tmp_path, "one", optimizers=("adam",), request=shard(1))
    second = run(tmp_path, "two", optimizers=("momentum",), request=shard(2), environment=OTHER)
    return first, second


def test_shards_become_one_run_with_every_cell_and_launch(tmp_path: Path, shards: tuple[Path, Path]) -> None:
    store = merged(tmp_path, *shards)
    run_id = store.find_run(None)
    parts = [find_part(place) for place in shards]
    assert [cell.name for cell in store.cells(run_id)] == [cell.name for part in parts for cell in part.cells]
    assert len(store.launch_records(run_id)) == sum(len(part.launches) for part in parts)
    assert store.run(run_id)["state"] == "finished" and "shard" not in store.run(run_id)["request"]
    assert {entry["shard"]["number"] for entry in store.run(run_id)["request"]["merged"]} == {1, 2}


def test_timings_of_two_machines_are_kept_apart(tmp_path: Path, shards: tuple[Path, Path]) -> None:
    store = merged(tmp_path, *shards)
    run_id = store.find_run(None)
    launches = store.launches(run_id)
    machines = launches.groupby("stage_key")["environment_id"].nunique()
    assert set(machines) == {1}
    cells = store.cells(run_id)
    infer = [
        {cell.stages["infer"] for cell in cells if f"/{name}/" in cell.name} for name in ("adam", "momentum")
    ]
    assert not infer[0] & infer[1]
    labels = [stage.label for stage in store.stages(run_id)]
    assert len(set(labels)) == len(labels)


def test_the_report_has_a_column_of_machines_and_compares_within_one(
    tmp_path: Path, shards: tuple[Path, Path]
) -> None:
    store = merged(tmp_path, *shards)
    frames = read_frames(read(store, store.find_run(None)))
    found = dict(frames["inference"][["optimizer", "machine"]].itertuples(index=False))
    assert found == {"adam": "Test CPU, 2 cores", "momentum": "Another CPU, 2 cores"}
    assert set(frames["training"]["machine"]) == {"Test CPU, 2 cores", "Another CPU, 2 cores"}
    assert frames["inference"].groupby("machine")["pareto"].any().all()  # a front for each machine
    alone = read_frames(read(find_part(shards[0]).store, "20261129-one"))
    assert set(alone["inference"]["machine"]) == {""}


def test_a_cell_that_two_machines_have_is_there_for_each(tmp_path: Path) -> None:
    first = run(tmp_path, "one", optimizers=("adam",))
    second = run(tmp_path, "two", optimizers=("adam",), environment=OTHER)
    store = merged(tmp_path, first, second)
    names = [cell.name for cell in store.cells(store.find_run(None))]
    assert len(names) == len(set(names)) == 2 * len(find_part(first).cells)
    assert sum(name.endswith("/machine=Another CPU, 2 cores") for name in names) == len(names) / 2


def test_a_cell_that_one_machine_has_twice_is_taken_once_if_its_answers_agree(tmp_path: Path) -> None:
    first, second = run(tmp_path, "one", optimizers=("adam",)), run(tmp_path, "two", optimizers=("adam",))
    store = merged(tmp_path, first, second)
    assert len(store.cells(store.find_run(None))) == len(find_part(first).cells)
    wrong = Result("ok", measurements=(Measurement("accuracy", 0.5),), environment=ENVIRONMENT)
    third = run(
        tmp_path, "three", optimizers=("adam",), results={"evaluate digits/adam/0/none@cpu-eager": wrong}
    )
    with pytest.raises(
        StoreError, match=r"two answers on one machine: .* accuracy is .* and 0\.5 in run 20261129-three"
    ):
        merged(tmp_path / "other", first, third)


def machines(store: Store) -> dict[str, str]:
    """Return the machine that a report has for each optimizer's inference; cells of several have several."""
    frame = read_frames(read(store, store.find_run(None)))["inference"]
    return dict(frame[["optimizer", "machine"]].itertuples(index=False))


def test_a_cell_that_failed_is_taken_from_the_run_where_it_is_ok(tmp_path: Path) -> None:
    failed = Result("failed", "killed", environment=ENVIRONMENT)
    label = "evaluate digits/adam/0/none@cpu-eager"
    first = run(tmp_path, "one", optimizers=("adam",), results={label: failed})
    second = run(tmp_path, "two", optimizers=("adam",))
    store = merged(tmp_path, first, second)
    view = read(store, store.find_run(None))
    cell = next(cell for cell in view.cells if cell.name.endswith("/none@cpu-eager"))
    assert view.status(str(cell.stages["evaluate"])).ok
    notes = store.run(store.find_run(None))["request"]["notes"]
    assert "1 cell that failed in run 20261129-one are taken from run 20261129-two" in notes
    left_out = len(find_part(first).cells) - 1
    assert (
        f"{left_out} cells of run 20261129-two left out: run 20261129-one has them of the same machine"
        in notes
    )


def test_machines_with_other_versions_of_a_library_are_kept_apart(tmp_path: Path) -> None:
    versions = ("2.12.0", "2.13.0")
    places = [
        run(
            tmp_path,
            version,
            optimizers=(optimizer,),
            environment={**ENVIRONMENT, "libraries": {"torch": version, "numpy": "2.0"}},
        )
        for version, optimizer in zip(versions, ("adam", "momentum"), strict=True)
    ]
    store = merged(tmp_path, *places)
    assert machines(store) == {
        "adam": "Test CPU, 2 cores (torch 2.12.0)",
        "momentum": "Test CPU, 2 cores (torch 2.13.0)",
    }
    notes = store.run(store.find_run(None))["request"]["notes"]
    assert "measured on Test CPU, 2 cores (torch 2.13.0): 20261129-2.13.0" in notes


def test_ceilings_that_are_taken_over_do_not_make_two_machines_of_one(tmp_path: Path) -> None:
    libraries = {"torch": "2.13.0", "numpy": "2.0"}
    environment = {**ENVIRONMENT, "libraries": libraries}
    of_yesterday = {**ENVIRONMENT, "libraries": {**libraries, "openvino": "2026.1"}, "threads": 64}
    first = run(tmp_path, "one", optimizers=("adam",), environment=environment)
    second = run(
        tmp_path,
        "two",
        optimizers=("momentum",),
        environment=environment,
        taken_over={"ceilings": of_yesterday},
    )
    store = merged(tmp_path, first, second)
    assert set(machines(store).values()) == {""}
    assert store.run(store.find_run(None))["request"]["notes"] == []


def test_hosts_of_one_kind_are_one_machine_until_two_of_them_have_the_same_cell(tmp_path: Path) -> None:
    first = run(tmp_path, "one", optimizers=("adam",), host="a")
    second = run(tmp_path, "two", optimizers=("momentum",), host="b")
    store = merged(tmp_path, first, second)
    assert set(machines(store).values()) == {""}
    (note,) = store.run(store.find_run(None))["request"]["notes"]
    assert note == "measured on 2 hosts of the kind Test CPU, 2 cores: 20261129-one, 20261129-two"
    third = run(tmp_path, "three", optimizers=("adam",), host="b")
    store = merged(tmp_path / "other", first, third)
    names = [cell.name for cell in store.cells(store.find_run(None))]
    assert len(set(names)) == 2 * len(find_part(first).cells)
    assert sum(name.endswith("/machine=Test CPU, 2 cores, host 2") for name in names) == len(names) / 2


def test_an_exact_value_that_differs_between_machines_is_a_note(tmp_path: Path) -> None:
    label = "lower digits/adam/0/none@cpu-eager"
    first = run(tmp_path, "one", optimizers=("adam",))
    measured = {label: (Measurement("dense_flops", 5.0),)}
    second = run(tmp_path, "two", optimizers=("adam",), environment=OTHER, measured=measured)
    store = merged(tmp_path, first, second)
    notes = store.run(store.find_run(None))["request"]["notes"]
    (note,) = [note for note in notes if "dense_flops" in note]
    assert "is 10000000.0 in run 20261129-one and 5.0 in run 20261129-two" in note


def test_a_run_of_two_machines_that_is_merged_again_keeps_their_names(
    tmp_path: Path, shards: tuple[Path, Path]
) -> None:
    merged(tmp_path, *shards)
    third = run(tmp_path, "three", optimizers=("sgd",), environment={**OTHER, "cpu": {"model": "Third CPU"}})
    store = merged(tmp_path / "again", tmp_path / "into", third)
    assert machines(store) == {
        "adam": "Test CPU, 2 cores",
        "momentum": "Another CPU, 2 cores",
        "sgd": "Third CPU, 2 cores",
    }


def test_a_merge_that_is_killed_leaves_no_run_behind(
    tmp_path: Path, shards: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.results.store import writing

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "finish_run", killed)
    with pytest.raises(KeyboardInterrupt):
        merged(tmp_path, *shards)
    assert Store.open(tmp_path / "into", create=False).runs().empty


def test_artifacts_come_along(tmp_path: Path, shards: tuple[Path, Path]) -> None:
    from bench.results.artifacts import Making, artifact_folder, publish, read_record, writing

    part = find_part(shards[1])
    stage = next(stage for stage in part.stages.values() if stage.kind == "train")
    making = Making(
        kind="train",
        label=stage.label,
        settings={},
        parents={},
        run_id=part.run_id,
        body_s=1.0,
        measurements=(),
        inputs={},
    )
    with writing(part.results, stage.key) as folder:
        (folder / "model").write_text("weights")
        publish(folder, part.results, stage.key, making)
    store = merged(tmp_path, *shards)
    copied = artifact_folder(tmp_path / "into", stage.key)
    assert (copied / "model").read_text() == "weights"
    record = read_record(tmp_path / "into", stage.key)
    assert record is not None and store.artifact_sha256(stage.key) == record.artifact.sha256


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda f: [run(f, "a", request={"text": "x"}), run(f, "b", request={"text": "y"})],
            "differ in their matrix",
        ),
        (
            lambda f: [run(f, name, request={"workloads": [name]}) for name in ("a.onnx", "b.onnx")],
            "differ in their workloads",
        ),
        (
            lambda f: [run(f, name, request={"plugins": {"my.py": name}}) for name in ("a", "b")],
            "differ in their plug-ins",
        ),
        (lambda f: [run(f, "a", request={"smoke": True}), run(f, "b")], "differ in their smoke"),
        (lambda f: [run(f, "a", request=shard(1)), run(f, "b")], "is no shard, but"),
        (
            lambda f: [run(f, "a", request=shard(1)), run(f, "b", request=shard(2, split="xyz"))],
            "is shard 2/2 of split xyz, but .* of split abc in 2: their machines have different runtimes",
        ),
        (lambda f: [run(f, "a", request=shard(1)), run(f, "b", request=shard(1))], "shard 1 is given twice"),
        (lambda f: [run(f, "a")] * 2, "run 20261129-a is given twice"),
    ],
)
def test_what_does_not_belong_together_gets_one_line(
    tmp_path: Path, make: Callable[[Path], list[Path]], message: str
) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        merged(tmp_path, *make(tmp_path))
    assert "\n" not in str(caught.value) and not (tmp_path / "into").exists()


def notes_of(store: Store) -> list[str]:
    notes: list[str] = store.run(store.find_run(None))["request"]["notes"]
    return notes


def test_a_run_that_was_ended_early_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    place = run(tmp_path, "one", finish=False)
    with pytest.raises(StoreError) as error:
        find_part(place)
    does = "resume it by `bench run --matrix quick`, or take what it has by --partial"
    assert str(error.value) == f"{place}: run 20261129-one has not ended; {does}"
    run(tmp_path, "two", identity="of another command")
    run(tmp_path, "two", later="-again", finish=False)
    with pytest.raises(
        StoreError, match=rf"--partial, or give an earlier run, as {tmp_path}/two/20261129-two$"
    ):
        find_part(tmp_path / "two")
    assert find_part(tmp_path / "two" / "20261129-two").run_id == "20261129-two"


def test_an_earlier_run_of_the_same_command_stands_for_one_that_was_ended_early(tmp_path: Path) -> None:
    place = run(tmp_path, "one", optimizers=("adam",))
    run(tmp_path, "one", later="-again", finish=False, optimizers=("adam",))
    run(tmp_path, "one", later="-and-again", finish=False, optimizers=("adam",))
    assert find_part(place, partial=True).run_id == "20261129-one"
    store = merged(tmp_path, place)
    later = "20261129-one-and-again, a later one of its command, has not ended"
    assert notes_of(store) == [f"run 20261129-one is merged: {later}"]


def test_a_run_that_was_resumed_or_begun_again_until_it_ended_is_merged_without_a_word(
    tmp_path: Path,
) -> None:
    place = run(tmp_path, "one", finish=False, optimizers=("adam",))
    run(tmp_path, "one", later="-again", optimizers=("adam",))
    store = merged(tmp_path, place)
    assert notes_of(store) == []
    assert len(store.launch_records(store.find_run(None))) == len(find_part(place).launches)


def test_what_a_shard_has_that_was_ended_early_is_merged_if_asked_for(tmp_path: Path) -> None:
    early = {"finish": False, "unlaunched": ("infer", "ceilings"), "optimizers": ("adam",)}
    first = run(tmp_path, "one", request=shard(1), **early)
    second = run(tmp_path, "two", request=shard(2), optimizers=("momentum",))
    store = merged(tmp_path, first, second, partial=True)
    part = find_part(first, partial=True)
    missing = [stage for stage in part.stages.values() if stage.kind in ("infer", "ceilings")]
    said = f"{len(missing)} of {len(part.stages)} stages have no result, others may have fewer launches"
    assert notes_of(store) == [f"run 20261129-one had not ended: {said}"]
    view = read(store, store.find_run(None))
    served = {cell.name: view.status(str(cell.stages["infer"])).ok for cell in view.cells if not cell.skipped}
    assert served == {name: "/momentum/" in name for name in served} and len(set(served.values())) == 2
    assert all(view.status(str(cell.stages["evaluate"])).ok for cell in view.cells if not cell.skipped)


def test_cells_that_a_run_which_was_ended_early_lacks_are_taken_from_another_of_the_machine(
    tmp_path: Path,
) -> None:
    first = run(tmp_path, "one", optimizers=("adam",), finish=False, unlaunched=("infer",))
    second = run(tmp_path, "two", optimizers=("adam",))
    store = merged(tmp_path, first, second, partial=True)
    view = read(store, store.find_run(None))
    assert all(view.status(str(cell.stages["infer"])).ok for cell in view.cells if not cell.skipped)


def test_a_run_in_progress_is_refused_even_if_what_it_has_is_asked_for(tmp_path: Path) -> None:
    place = run(tmp_path, "one", finish=False)
    with alone_in(place), pytest.raises(StoreError) as error:
        find_part(place, partial=True)
    said = f"{place}: run 20261129-one is in progress; wait until it ends, or stop it"
    assert str(error.value) == said
    assert find_part(place, partial=True).run_id == "20261129-one"


def test_a_shard_that_has_measured_nothing_is_no_machine_of_its_own(tmp_path: Path) -> None:
    first = run(tmp_path, "one", request=shard(1), optimizers=("adam",))
    nothing = {"request": shard(2), "optimizers": ("momentum",), "backends": (), "compressions": ()}
    second = run(tmp_path, "two", unlaunched=("ceilings",), **nothing)
    assert notes_of(merged(tmp_path, first, second)) == []


def test_a_missing_shard_is_a_note(tmp_path: Path) -> None:
    places = [run(tmp_path, str(number), request=shard(number, of=3)) for number in (1,)]
    store = merged(tmp_path, *places)
    notes = store.run(store.find_run(None))["request"]["notes"]
    assert notes == ["shards 2, 3 of 3 are missing, with all their cells"]


def test_a_missing_shard_that_was_run_in_the_same_folder_is_named(tmp_path: Path) -> None:
    for number, later in ((1, "-first"), (2, "")):
        place = run(tmp_path, "one", later=later, request=shard(number, of=3), optimizers=("adam",))
    run(tmp_path, "one", later="-of-another-split", request=shard(1, of=3, split="xyz"))
    parts = [find_part(place / "20261129-one")]
    merge(parts, tmp_path / "into", lambda _: None)
    (note,) = notes_of(Store.open(tmp_path / "into", create=False))
    missing = "shards 1, 3 of 3 are missing, with all their cells"
    assert note == f"{missing}; give {place}/20261129-one-first too"


def test_the_command_merges_and_prints_the_report(
    command: Any, tmp_path: Path, shards: tuple[Path, Path]
) -> None:
    done = command("merge", *shards, "--into", tmp_path / "into")
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout and "20261129-one: " in done.stderr
    pages = list((tmp_path / "into").glob("*-quick-merged/report.md"))
    assert len(pages) == 1 and "Another CPU" in pages[0].read_text()
    run(tmp_path, "three", finish=False, request=shard(3, of=3), unlaunched=("infer",))
    words = ("merge", tmp_path / "three", "--into", tmp_path / "again")
    refused = command(*words)
    assert refused.returncode == 2 and "take what it has by --partial" in refused.stderr.splitlines()[-1]
    taken = command(*words, "--partial")
    assert taken.returncode == 0, taken.stderr
    assert "\nrun 20261129-three had not ended: " in taken.stderr
    bad = command("merge", tmp_path / "nowhere", "--into", tmp_path / "into")
    assert bad.returncode == 2 and len(bad.stderr.strip().splitlines()) == 1
