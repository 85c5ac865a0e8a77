"""A run as TensorBoard's event files, read back by TensorBoard itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.interchange.tensorboard import render
from bench.results.store import Store
from tests.support.synthetic_run import Synthetic, build

pytest.importorskip("tensorboard")

HOSTILE = ("..", "a\\b", "\x1b[31mred", "n" * 300, "=cmd()", "日本", "<b>'\"")


def written(store: Store, folder: Path) -> Path:
    for path, data in render(store, "run-1").files:
        target = folder / path
        assert target.resolve().is_relative_to(folder.resolve())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def values(found: Any, tag: str) -> list[tuple[int, float]]:
    from tensorboard.util.tensor_util import make_ndarray

    return [(event.step, float(make_ndarray(event.tensor_proto))) for event in found.Tensors(tag)]


def hyperparameters(found: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = found.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    started = HParamsPluginData.FromString(content).session_start_info
    return {
        name: value.string_value if value.HasField("string_value") else value.number_value
        for name, value in started.hparams.items()
    }


def test_a_training_has_its_curves_by_step_and_a_cell_its_axes_and_metrics(tmp_path: Path) -> None:
    store = build(tmp_path / "results", Synthetic(optimizers=("adam",)))
    folder = written(store, tmp_path / "events")
    (training,) = (folder / "training").iterdir()
    quality = values(events(training), "curve/quality")
    assert [step for step, _ in quality] == list(range(60, 1201, 60))
    assert quality[-1][1] == pytest.approx(0.95 - 0.9 * 0.5**8.4)
    assert values(events(training), "steps_to_target") == [(0, 600.0)]
    cell = events(folder / "cell" / "digits_adam_int8-static@onnxruntime")
    known = hyperparameters(cell)
    assert (known["compression"], known["backend"], known["batch_size"]) == (
        "int8-static",
        "onnxruntime",
        1.0,
    )
    assert values(cell, "artifact_bytes") == [(0, 2e5)] and values(cell, "quality")[0][1] == pytest.approx(
        0.936
    )


def test_the_same_run_gives_the_same_files_and_what_has_no_metrics_is_noted(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(optimizers=("adam",)))
    first, again = render(store, "run-1"), render(store, "run-1")
    assert first == again
    assert first.notes == ("digits/adam/int8-static@cpu-eager: skipped",)


def test_names_become_folders_of_their_own_inside(tmp_path: Path) -> None:
    made_up = Synthetic(("adam",), ("none",), ("cpu-eager",), workloads=HOSTILE)
    folder = written(build(tmp_path / "results", made_up), tmp_path / "events")
    assert len(list((folder / "cell").iterdir())) == len(HOSTILE)
    for cell in (folder / "cell").iterdir():
        assert cell.name.isprintable() and hyperparameters(events(cell))["workload"].isprintable()
