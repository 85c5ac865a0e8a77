"""What a run reached of its device, for projections: its measured peaks, and the shares of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bench.errors import BenchError
from bench.projection.devices import Device, Utilization
from reports.frames.inference import inference_table
from reports.frames.training import training_table
from reports.frames.view import RunView, records

_RATE, _BYTES = "ceiling_operations_per_s", "ceiling_bytes_per_s"


def measured_device(view: RunView) -> Device:
    """Return the device whose ceilings a run measured, an accelerator before the CPU.

    Raises BenchError where it measured none.
    """
    keys = {stage.request.device: key for key, stage in view.stages.items() if stage.kind == "ceilings"}
    names = sorted(keys, key=lambda name: name == "cpu")
    name = next((name for name in names if view.value(keys[name], _BYTES)), "")
    numbers = view.qualifiers(keys[name], _RATE) if name else []
    rates = {number: view.value(keys[name], _RATE, number) for number in numbers}
    known = {number: rate for number, rate in rates.items() if rate}
    memory = [int(own["memory_bytes"]) for own in view.environments.values() if own.get("memory_bytes")]
    if not known or not memory:
        raise BenchError(f"run {view.run['id']} measured no ceilings; run a matrix again, or name a --device")
    return Device(
        f"{name} of run {view.run['id']}",
        known,
        view.value(keys[name], _BYTES) or 0.0,
        max(memory),
        f"ceilings measured in run {view.run['id']}",
        server_devices=1,
        caches=name != "cpu",
    )


def as_reached(device: Device, view: RunView, workload: str) -> Device:
    """Return a device at the shares of its peaks that a run's trainings and inferences reached, if any.

    Those of a workload alone where the run has it, else those of all of its models.
    """
    trainings, served = records(training_table(view)), records(inference_table(view))
    own = any(row["workload"] == workload for row in trainings)
    if own:
        trainings, served = (
            [row for row in rows if row["workload"] == workload] for rows in (trainings, served)
        )
    run = f"of {workload if own else 'all models'} in run {view.run['id']}"
    steps = _span((row["hardware_utilization"] for row in trainings), f"reached by the steps {run}")
    answers = _span((row["utilization"] for row in served), f"reached by the answers {run}")
    moved = _span(
        (row["roofline_share"] for row in served if row["roofline_binds"] == "memory"),
        f"of the memory's bytes/s, reached by the answers {run}",
    )
    return replace(
        device,
        training=steps or device.training,
        prefill=answers or device.prefill,
        decoding=moved or device.decoding,
    )


def _span(shares: Iterable[float | None], what: str) -> Utilization | None:
    known = [share for share in shares if share and share == share]
    if not known:
        return None
    low, high = min(known), max(known)
    return Utilization(low, high, f"{100 * low:.1f} to {100 * high:.1f} %, {what}")
