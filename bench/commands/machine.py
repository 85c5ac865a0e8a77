"""`bench machine`: hardware, probes, what a run would use, and which backends are available.

Imports no runtime: a backend is available if everything that it requires is found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Annotated, Any

import typer

from bench.commands import Command, Plugins
from bench.execution.resources import GIB, find_resources
from bench.formatting import say
from bench.instruments.accelerators import describe_accelerators
from bench.instruments.energy import RaplCounter
from bench.instruments.environment import describe
from bench.instruments.probes import describe_probes
from bench.instruments.processor import MATRIX_EXTENSIONS, clock_mhz
from bench.plugins import load_plugins, needed_packages
from techniques.backends import BACKENDS, BackendRow
from techniques.backends.cpu_features import int8_saturates


def machine(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plugin: Plugins = None,
) -> None:
    """Show this machine's hardware, which backends run on it, and how to add the others."""
    load_plugins(plugin or [])
    found = inspect()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for line in lines(found):
        say(line)


COMMANDS = (Command("machine", "Look", machine),)


def inspect() -> dict[str, Any]:
    """Return all that is known of this machine as plain JSON values; unknown things are None."""
    import psutil

    found = describe(packages=needed_packages())
    boards, no_boards = describe_accelerators()
    resources = find_resources()
    return {
        "cpu": {
            **found["cpu"],
            "clock_mhz": clock_mhz(),
            "features": found["cpu_features"],
            "limits": found.get("cpu_limits", {}),
            "int8_saturates": int8_saturates(within_onednn=True),
        },
        "memory": {
            "total_bytes": found["memory_bytes"],
            "available_bytes": psutil.virtual_memory().available,
            "limit_bytes": found["memory_limit_bytes"],
        },
        "accelerators": {
            "found": boards,
            "reason": no_boards,
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        },
        "energy": _energy(boards, no_boards),
        "probes": {name: _source(why_not) for name, why_not in describe_probes().items()},
        "used": {
            "cores": list(resources.cpus),
            "threads": len(resources.cpus),
            "cpu_quota": found["cpu_quota"],
            "variables": found.get("variables", {}),
            "memory_bytes": resources.memory_bytes,
        },
        "software": {name: found[name] for name in ("os", "python", "allocator", "libraries")},
        "backends": [_backend(row) for row in BACKENDS.rows().values()],
    }


def _energy(boards: list[dict[str, Any]], no_boards: str) -> dict[str, dict[str, Any]]:
    rapl = RaplCounter()
    rapl.start()
    counting = any(board["energy_counter"] for board in boards)
    no_counter = "" if counting else no_boards or "no board here has an energy counter"
    return {"RAPL": _source(rapl.reason), "NVML": _source(no_counter)}


def _source(why_not: str) -> dict[str, Any]:
    return {"available": not why_not, "reason": why_not}


def _backend(row: BackendRow) -> dict[str, Any]:
    obstacle = row.obstacle()
    return {
        "name": row.name,
        "about": row.about,
        "runs": obstacle is None,
        "reason": obstacle.reason if obstacle else "",
        "command": obstacle.command if obstacle else "",
        "hardware": obstacle.hardware if obstacle else "",
        "device": row.device,
        "precisions": list(row.precisions),
        "formats": dict(row.formats),
        "no_kernel": dict(row.no_kernel),
        "trains": row.trains,
    }


# The same for a person

_LABEL, _WIDTH = 14, 86
_UNKNOWN = "unknown"


def lines(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `inspect` found as lines: a label, then the value or why it is unavailable."""
    sections = {
        "CPU": _processor_lines(machine["cpu"]),
        "Memory": [_memory_line(machine["memory"])],
        "Accelerators": _accelerator_lines(machine["accelerators"]),
        "Energy": [f"{name}    {_yes_or_no(found)}" for name, found in machine["energy"].items()],
        "Probes": [
            f"{name.replace('_', ' '):20}  {_yes_or_no(found)}" for name, found in machine["probes"].items()
        ],
        "A run uses": _used_lines(machine["used"], machine["cpu"]["logical_cores"]),
        "Software": _software_lines(machine["software"]),
    }
    for label, content in sections.items():
        for number, line in enumerate(content):
            yield f"{'' if number else label:{_LABEL}}{line}"
    running = sum(backend["runs"] for backend in machine["backends"])
    yield ""
    yield f"Backends: {running} of {len(machine['backends'])} run here"
    width = max(len(backend["name"]) for backend in machine["backends"])
    for backend in machine["backends"]:
        yield from _backend_lines(backend, width)


def _processor_lines(cpu: Mapping[str, Any]) -> Iterator[str]:
    where = "virtual machine" if cpu["virtual_machine"] else "no hypervisor seen"
    yield f"{cpu['model']} ({cpu['architecture']}), {where}"
    cores = f"{cpu['physical_cores'] or _UNKNOWN} physical, {cpu['logical_cores']} logical"
    yield f"cores   {cores}"
    yield f"clock   {_clock(cpu)}"
    caches = [f"{name.removesuffix(' unified')} {size}" for name, size in cpu["caches"].items()]
    yield f"caches  {', '.join(caches) or _UNKNOWN}"
    vector = [name for name in cpu["extensions"] if name not in MATRIX_EXTENSIONS]
    matrix = [name for name in cpu["extensions"] if name in MATRIX_EXTENSIONS]
    yield f"vector  {' '.join(vector) or 'none known'}"
    yield f"matrix  {' '.join(matrix) or 'none known'}"
    yield from _feature_lines(cpu)


def _feature_lines(cpu: Mapping[str, Any]) -> Iterator[str]:
    """Yield the CPU's features, and those that libraries may use where a variable caps them."""
    features = {name: ", ".join(found) or "none known" for name, found in cpu["features"].items()}
    yield f"has     {features['cpu']}"
    held = " ".join(f"{name}={value}" for name, value in cpu["limits"].items())
    if held:
        yield f"capped  {held}: PyTorch's kernels have {features['pytorch']}; oneDNN's {features['onednn']}"
    if cpu["int8_saturates"]:
        yield f"int8    {cpu['int8_saturates']}; 7-bit numbers are used where they would"


def _clock(cpu: Mapping[str, Any]) -> str:
    now = f"{cpu['clock_mhz'] / 1e3:.2f} GHz" if cpu["clock_mhz"] else _UNKNOWN
    limits = [f"{int(cpu[key]) / 1e6:.2f}" if cpu[key] else "" for key in ("min_khz", "max_khz")]
    range_ = f", {limits[0]} to {limits[1]} GHz" if all(limits) else ""
    turbo = {True: "on", False: "off", None: _UNKNOWN}[cpu["turbo"]]
    return f"{now}{range_}, governor {cpu['governor'] or _UNKNOWN}, turbo {turbo}"


def _memory_line(memory: Mapping[str, Any]) -> str:
    limit = _gib(memory["limit_bytes"]) if memory["limit_bytes"] else "none"
    total, available = _gib(memory["total_bytes"]), _gib(memory["available_bytes"])
    return f"{total}, {available} available, control group limit: {limit}"


def _accelerator_lines(accelerators: Mapping[str, Any]) -> Iterator[str]:
    if not accelerators["found"]:
        yield f"none: {accelerators['reason']}"
    for board in accelerators["found"]:
        yield (
            f"{board['name']}, driver {board['driver'] or _UNKNOWN}, CUDA {board['cuda'] or _UNKNOWN}, "
            f"compute capability {board['compute_capability'] or _UNKNOWN}" + ", MIG" * bool(board["mig"])
        )
        memory = _gib(board["memory_bytes"]) if board["memory_bytes"] else _UNKNOWN
        yield (
            f"  memory {memory}; power limit {_or_unknown(board['power_limit_w'], 'W')}, "
            f"at most {_or_unknown(board['max_power_limit_w'], 'W')}; clocks up to "
            f"{_or_unknown(board['max_sm_mhz'], 'MHz')} (SM), "
            f"{_or_unknown(board['max_memory_mhz'], 'MHz')} (memory)"
        )
    if accelerators["visible"] is not None:
        yield f"CUDA_VISIBLE_DEVICES is {accelerators['visible']!r}"


def _used_lines(used: Mapping[str, Any], logical_cores: int) -> Iterator[str]:
    cores, threads = len(used["cores"]), used["threads"]
    memory = _gib(used["memory_bytes"])
    yield f"{cores} of {logical_cores} cores, {threads} threads for training and timing; {memory} of memory"
    quota = used["cpu_quota"]
    if quota is not None and quota < cores:
        yield (
            f"the control group limits these {cores} cores to {quota:g} CPUs of time: "
            "timings will be throttled"
        )


def _software_lines(software: Mapping[str, Any]) -> Iterator[str]:
    yield f"{software['os']}, Python {software['python']}, allocator {software['allocator']}"
    yield from wrap(", ".join(f"{name} {version}" for name, version in software["libraries"].items()), _WIDTH)


def _backend_lines(backend: Mapping[str, Any], width: int) -> Iterator[str]:
    name = f"  {backend['name']:{width}}"
    if backend["runs"]:
        formats = "; ".join(f"{name} ({by})" for name, by in backend["formats"].items())
        yield f"{name}  runs: {', '.join(backend['precisions'])}" + "; trains" * backend["trains"]
        if formats:
            yield f"  {'':{width}}  {formats}"
        return
    yield f"{name}  unavailable: {backend['reason']}"
    if backend["command"]:
        yield f"  {'':{width}}  install: {backend['command']}"
    elif backend["hardware"]:
        yield f"  {'':{width}}  requires: {backend['hardware']}"


def _yes_or_no(source: Mapping[str, Any]) -> str:
    return "yes" if source["available"] else f"no: {source['reason']}"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"


def _or_unknown(value: float | None, unit: str) -> str:
    return _UNKNOWN if value is None else f"{value:g} {unit}"
