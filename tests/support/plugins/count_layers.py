"""A kind of stage of its own: counts the layers of each model that is served."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.plan.lookup import CellTechniques
from bench.plan.planner import Planner
from bench.records import Measurement, Request
from bench.stages import STAGES, StageKind


@dataclass(frozen=True)
class Settings:
    workload: str


def plan(planner: Planner, chosen: CellTechniques, keys: Mapping[str, str]) -> str:
    """Plan it for each cell's model, compressed or not."""
    model = keys.get("compress") or keys["train"]
    settings = Settings(chosen.cell.workload)
    label = f"layers of {planner.stages[model].label}"
    return planner.add("count-layers", chosen, settings, {"model": model}, label)


def run(request: Request[Settings], folder: Path) -> list[Measurement]:
    """Count the modules that hold no other."""
    from bench.models.files import load_model  # imports PyTorch, which only workers do
    from bench.stages.inputs import parent_folder

    model = load_model(parent_folder(request, "model"), request.settings.workload)
    layers = [module for module in model.modules() if not list(module.children())]
    return [Measurement("parameters", len(layers), qualifier="layers")]


STAGES.add(
    StageKind(
        "count-layers",
        run=f"{__file__}:run",
        settings=f"{__file__}:Settings",
        plan=f"{__file__}:plan",
        about="Count the layers of each model that is served",
        phase=3,
        works="runs",
    )
)
