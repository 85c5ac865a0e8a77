"""Which stages cost the same: a class is named by what drives the cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CostClass = tuple[str, ...]

SINGLE = "single"
"""The kind of stages that take a step on one of several devices."""

TRIAL = "trial"
"""The kind of stages that differ in the settings of their optimizer, which do not drive the cost."""

DRIVERS = ("workload", "optimizer", "backend", "precision", "batch_size", "format", "test_samples")

_OF_DEVICES = ("devices", "parallel", "of_devices")
"""What drives the cost too, where several devices train: a stage of one has the class that it had without."""


def cost_class(kind: str, settings: Mapping[str, Any]) -> CostClass:
    """Return the class of a stage. How long a stage trains or samples is no part of it: that scales.

    A compression is known by its technique's name, whatever its settings; which optimizer it recovers with
    is told by the seconds of a step, so that techniques and optimizers need not all be tried together. So is
    a trial by its optimizer's name.
    """
    if kind == TRIAL:
        settings = without_tried(settings)
    found = [f"{name}={settings[name]}" for name in DRIVERS if settings.get(name) is not None]
    if settings.get("devices", 1) != 1 or "of_devices" in settings:
        found += [f"{name}={settings[name]}" for name in _OF_DEVICES if settings.get(name) is not None]
    if "technique" not in settings:
        return (kind, *found)
    name = re.split(r"[:(]", str(settings["technique"]))[0]
    return (kind, *(entry for entry in found if not entry.startswith("optimizer=")), f"technique={name}")


def without_tried(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial as those of a training with its optimizer's defaults."""
    return {**settings, "optimizer": str(settings.get("optimizer")).partition(":")[0]}


_LESS = (
    ("test_samples=",),
    ("test_samples=", "batch_size="),
    ("test_samples=", "batch_size=", "optimizer="),
    ("test_samples=", "batch_size=", "workload="),
    ("test_samples=", "batch_size=", "technique=", "precision=", "optimizer=", "format="),
    ("test_samples=", "batch_size=", "technique=", "precision=", "optimizer=", "format=", "workload="),
    ("test_samples=", *(f"{name}=" for name in DRIVERS), "technique="),
)


def near(kind: str, settings: Mapping[str, Any]) -> tuple[CostClass, ...]:
    """Return what an unknown stage goes by among the costs of another machine, nearest first.

    Those were measured on whole matrices, so that a stage of the same technique or backend says more than the
    middle of a kind. How long a training takes is its workload's before its optimizer's.
    """
    class_ = cost_class(kind, settings)
    of_devices = tuple(f"{name}=" for name in _OF_DEVICES)  # the batch is the same, and so is the work
    return tuple(
        (f"near {number}", *(entry for entry in class_ if not entry.startswith((*less, *of_devices))))
        for number, less in enumerate(_LESS)
    )


def kin(kind: str, settings: Mapping[str, Any]) -> tuple[CostClass, ...]:
    """Return what a stage of an unknown class goes by instead, nearest first: its workload's, its kind's."""
    samples = f"test_samples={settings.get('test_samples')}"
    return (kind, samples, f"workload={settings.get('workload')}"), (kind, samples)
