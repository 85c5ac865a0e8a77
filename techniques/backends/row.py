"""A row of the table of backends: what a backend can do, and what keeps it from running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from techniques.compression.formats import AUTO, BY_PERCENTILE, PERCENTILE
from techniques.registry import Obstacle, Row
from techniques.settings import Setting

_NO_SETTINGS: Mapping[str, Setting] = {}


@dataclass(frozen=True)
class BackendRow(Row):
    """A backend: its hardware, and what it can do there.

    `formats` maps each format with real kernels to their implementation; `no_kernel` says why another format
    has none. `precisions` are the dtypes it computes in, `format_precisions` those that a format's kernels
    do, if not all; `trains` says whether it can train. `lowering_imports` and `running_imports` are modules
    that a fork server imports ahead of its workers, for lowering and for running; `worker_imports` start
    threads as they are imported, so each worker does it by itself. `fork_safe` is false where the runtime
    must start in a process of its own. `training_only` names settings that say how it trains, and nothing of
    how it serves. `reads_onnx` says that it lowers a model that is an ONNX file, too. `export` refers to the
    function that writes what runs a lowered model without the suite, see `techniques.backends.exports`.
    `calibrations` are the ways in which it finds the ranges of a static format; `keeps_layers` says that it
    leaves those layers in full precision that a format's settings name. `generates` says that it continues
    texts: of models in "floats" alone, or in "any" of its formats; one that `only_generates` serves no other
    models, and `*` and `auto` do not select it. `drafts` says that a small model may propose tokens. One that
    does not serve (`serves`) only trains.
    `parallels` are the ways in which several of its devices train one model.
    """

    device: Literal["cpu", "cuda", "rocm", "mps", "xpu", "tpu"] = "cpu"
    formats: Mapping[str, str] = field(default_factory=dict)
    no_kernel: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = ("fp32",)
    format_precisions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trains: bool = False
    serves: bool = True
    lowering_imports: tuple[str, ...] = ()
    running_imports: tuple[str, ...] = ()
    worker_imports: tuple[str, ...] = ()
    fork_safe: bool = True
    training_only: tuple[str, ...] = ()
    reads_onnx: bool = False
    export: str = ""
    calibrations: tuple[str, ...] = (AUTO,)
    keeps_layers: bool = False
    generates: Literal["", "floats", "any"] = ""
    only_generates: bool = False
    drafts: bool = False
    parallels: tuple[str, ...] = ()

    def obstacle(self) -> Obstacle | None:
        """Say what keeps this from running where the stages of the run do, or None."""
        return ELSEWHERE[self.name] if self.name in ELSEWHERE else super().obstacle()

    def cannot_lower(
        self, format_: str | None, precision: str, settings: Mapping[str, Setting] = _NO_SETTINGS
    ) -> str | None:
        """Say why this backend cannot run that format, so set, or that precision, or None where it can."""
        if not self.serves:
            return f"{self.name} only trains; what it trained is served by others"
        return self._cannot_compute(precision) or self._cannot_quantize(format_, precision, settings)

    def _cannot_compute(self, precision: str) -> str | None:
        if precision in self.precisions:
            return None
        return f"{self.name} computes in {', '.join(self.precisions)}, not in {precision}"

    def _cannot_quantize(
        self, format_: str | None, precision: str, settings: Mapping[str, Setting]
    ) -> str | None:
        if format_ is not None and format_ not in self.formats:
            why = self.no_kernel.get(format_, "")
            return f"{self.name} has no kernel for {format_}" + (f": {why}" if why else "")
        only = self.format_precisions.get(format_ or "", self.precisions)
        if precision not in only:
            return f"{self.name}'s kernel for {format_} computes in {', '.join(only)}, not in {precision}"
        return self._cannot_set(format_, settings)

    def _cannot_set(self, format_: str | None, settings: Mapping[str, Setting]) -> str | None:
        calibration = settings.get("calibration", AUTO)
        if calibration not in self.calibrations:
            offered = ", ".join(self.calibrations)
            return f"{self.name} does not calibrate {format_} by {calibration}; it does by {offered}"
        if calibration != BY_PERCENTILE and settings.get("percentile", PERCENTILE) != PERCENTILE:
            return f"{format_}: percentile is a setting of calibration=percentile"
        if (settings.get("keep") or settings.get("mixed")) and not self.keeps_layers:
            return f"{self.name} cannot leave layers out of {format_}"
        return None

    def cannot_train(self, precision: str) -> str | None:
        """Say why this backend cannot train in that precision, or None where it can."""
        if not self.trains:
            return f"{self.name} does not support training"
        return self._cannot_compute(precision)


ELSEWHERE: dict[str, Obstacle | None] = {}
"""What keeps each backend from running on the machines of a cluster, while a run is planned for them: the one
that plans it, often a login node, may have no GPU."""
