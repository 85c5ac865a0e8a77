"""The rows of the table of workloads, and how a workload is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from bench.metrics import METRICS
from bench.workloads.output_kinds import parse_kind
from techniques.registry import Registry, Row, Technique, TechniqueError, nearest
from techniques.settings import Setting

_LATE_MODULES = {
    "transformers": ("transformers.modeling_utils", "transformers.models.auto.modeling_auto"),
    "torchvision": ("torchvision.models",),
    "timm": ("timm",),
}
"""What the models of a package import only once one is made; by the package that a workload needs."""


@dataclass(frozen=True)
class WorkloadRow(Row):
    """A workload's definition without its code, which `implementation` names.

    `quality_metric` is a metric that is better when higher; training ends when it has met `target` in two
    evaluations in a row, of which there are `evaluations_per_epoch`, or after `train_steps`. `target_basis`
    says how the target was found, and what is known of reaching it. Recovery after a
    compression takes `recover_steps`, a student's training `student_steps`. `optimizer` is the one that the
    target was measured with: `"tuned"` in a matrix stands for it. `datasets` names rows of `bench.datasets`,
    none where the workload makes its own data.

    A setting of a row that has a trait's name sets that trait; `{setting}` in `implementation` stands for a
    setting's value. `inference_only` workloads have a model that is served as given, and no training data;
    `content` names the setting that is the path of that model, and `is_onnx` says that it is an ONNX file:
    no module of PyTorch. `generates` says that its model continues texts, which is measured too. Modules of
    `server_imports` are needed to load it and slow to import: a fork server does so once for its workers.
    """

    quality_metric: str = "accuracy"
    target: float = 0.0
    target_basis: str = ""
    batch_size: int = 1
    train_steps: int = 1
    recover_steps: int = 1
    student_steps: int = 1
    evaluations_per_epoch: int = 4
    datasets: tuple[str, ...] = ()
    optimizer: str = "adam"
    inference_only: bool = False
    content: str = ""
    is_onnx: bool = False
    generates: bool = False
    server_imports: tuple[str, ...] = ()

    def check_traits(self) -> None:
        """Raise ValueError as `Row` does, and where a batch size or number of steps is under 1.

        Also unless the quality metric is a share that is better when higher.
        """
        super().check_traits()
        counts = ("batch_size", "train_steps", "recover_steps", "student_steps", "evaluations_per_epoch")
        for name in counts:
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {getattr(self, name)!r}")
        if self.quality_metric not in METRICS:
            near = nearest(self.quality_metric, METRICS.qualities)
            raise ValueError(f"unknown quality metric {self.quality_metric!r}{near}")
        metric = METRICS[self.quality_metric]
        if metric.name != "quality" and not (metric.quality and metric.better == "higher"):
            raise ValueError(
                f"quality_metric must be a quality that is better when higher, got {metric.name!r}; "
                "choose from "
                + ", ".join(name for name in METRICS.qualities if METRICS[name].better == "higher")
            )
        if metric.unit != "share":
            raise ValueError(
                f"quality_metric is {metric.name!r}, in {metric.unit or 'no unit'}; it must be a share"
            )

    @property
    def complete(self) -> bool:
        """Say whether the row is a workload at its defaults: not where its argument is the user's to give."""
        return self.argument is None or self.defaults[self.argument] != ""

    @property
    def slow_imports(self) -> tuple[str, ...]:
        """Name what a fork server imports once for the row's workers, its models' late modules included."""
        late = (name for package in self.needs for name in _LATE_MODULES.get(package, ()))
        return (*self.server_imports, *late)

    def arguments(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """Return the settings that go to the implementation: neither traits nor the reference to it."""
        return {name: value for name, value in settings.items() if name not in _TRAITS | {"reference"}}

    def at(self, settings: Mapping[str, Setting]) -> WorkloadRow:
        """Return the row with the traits that these settings set."""
        traits = {name: value for name, value in settings.items() if name in _TRAITS}
        reference = self.implementation.format(**settings) if settings else self.implementation
        row = replace(self, implementation=reference, **traits)  # type: ignore[arg-type]
        row.check_traits()
        return row


_TRAITS = {entry.name for entry in fields(WorkloadRow)} - {entry.name for entry in fields(Row)}


class WorkloadTable(Registry[WorkloadRow]):
    """The table of workloads; beside its names, `file.py:name` is a workload of the user's own."""

    def parse(self, text: str) -> Technique[WorkloadRow]:
        """Read a workload as any technique, or a reference to one, whose settings are traits of its row.

        Raises TechniqueError for an unknown name or setting, a missing argument, and a wrong trait.
        """
        place = text.strip().partition(":")[0]
        quoted = text.strip().startswith('"')
        if quoted or (place not in self.rows() and (place.endswith(".py") or ("." in place and ":" in text))):
            text = f"{OWN}:{text.strip()}"
        found = super().parse(text)
        argument = found.row.argument
        if argument and found.settings[argument] == "":
            raise TechniqueError(
                f"workload {text!r} needs its {argument}; write {found.name}:{argument.upper()}"
            )
        try:
            if found.settings.get("outputs"):
                parse_kind(str(found.settings["outputs"]))
            return Technique(found.row.at(found.settings), found.settings)
        except ValueError as error:
            raise TechniqueError(f"workload {text!r}: {error}") from None


OWN = "own"
