"""What a search chooses from: steps that change the model × formats × backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

from bench.errors import BenchError
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS, CompressionRow, parse_recipe
from techniques.registry import TechniqueError

NONE = "none"

LEVELS: Mapping[str, tuple[float, ...]] = {
    "share": (0.25, 0.5, 0.75),
    "sparsity": (0.5, 0.8, 0.9),
    "ratio": (1.0,),
    "energy": (0.95, 0.9, 0.8),
    "width": (0.5, 0.25),
    "depth": (0.5,),
    "bits": (4, 3),
}
"""How strong steps are tried, by the name of the setting that bare text after the colon sets."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A recipe and the backend that serves it. `steps` and `format` are texts, empty without any."""

    steps: str
    format: str
    backend: str

    @property
    def compression(self) -> str:
        """The recipe, as a cell has it."""
        return "+".join(filter(None, [self.steps, self.format])) or NONE

    @property
    def placement(self) -> tuple[str, str]:
        """The format and the backend: what is the same for every chain of steps."""
        return self.format, self.backend

    def __str__(self) -> str:
        return f"{self.compression} on {self.backend}"


@dataclass(frozen=True)
class Space:
    """Steps alone, chains of two of them, and where they may run: pairs of a format and a backend.

    `left_out` names what was not taken, with the reason.
    """

    steps: tuple[str, ...]
    chains: tuple[str, ...]
    placements: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...] = ()

    def candidates(self) -> Iterator[Candidate]:
        """Yield every candidate."""
        for steps in ("", *self.steps, *self.chains):
            for format_, backend in self.placements:
                candidate = Candidate(steps, format_, backend)
                if self.takes(candidate):
                    yield candidate

    def takes(self, candidate: Candidate) -> bool:
        """Say whether a candidate's steps and format go together."""
        return _goes_together(candidate.compression)

    def __len__(self) -> int:
        return sum(1 for _ in self.candidates())


@cache
def _goes_together(compression: str) -> bool:
    try:
        parse_recipe(compression)
    except TechniqueError:
        return False
    return True


def make_space(
    *,
    by_structure: bool,
    with_steps: bool = True,
    precision: str = "fp32",
    steps: Sequence[str] = (),
    formats: Sequence[str] = (),
    backends: Sequence[str] = (),
) -> Space:
    """Return what these texts span; without them, all that is registered and runs here.

    With `by_structure`, steps that leave every layer's shape are left out, unless they are named: what is
    minimized does not depend on the values of weights. Controls are left out too, and without `with_steps`
    all that are not named: a model that is served as given can't be trained to recover. Raises BenchError for
    what is no step or format, TechniqueError for an unknown name.
    """
    left_out: list[str] = []
    all_steps = _registered(by_structure) if with_steps else ()
    chosen = tuple(_named(steps, "step") if steps else all_steps)
    places = tuple(backends) or tuple(_running(left_out))
    parsed = [BACKENDS.parse(text) for text in places]
    known = tuple(_named(formats, "format")) if formats else tuple(_formats())
    placements = []
    for backend in parsed:
        for format_ in ("", *known):
            name = format_.partition(":")[0] or None
            problem = backend.row.cannot_lower(name, precision)
            if problem is None:
                placements.append((format_, backend.text))
            elif formats or not format_:
                left_out.append(problem)
    if not placements:
        raise BenchError(f"nothing to search: {'; '.join(left_out)}")
    return Space(chosen, tuple(_chains(chosen)), tuple(placements), tuple(dict.fromkeys(left_out)))


def _named(texts: Sequence[str], kind: str) -> Iterator[str]:
    """Yield texts in their canonical spelling, those of steps as recipes of steps alone."""
    for text in texts:
        recipe = parse_recipe(text)
        right = not recipe.format and recipe.steps if kind == "step" else recipe.format and not recipe.steps
        if not right:
            known = [name for name, row in COMPRESSIONS.rows().items() if row.kind == kind]
            raise BenchError(
                f"--{kind}: {text!r} is no {kind}; `bench list compressions` shows {known[0]} and more"
            )
        yield recipe.text


def _registered(by_structure: bool) -> Iterator[str]:
    """Yield every step that can run here at each of its levels, controls left out."""
    for row in COMPRESSIONS.rows().values():
        if row.kind != "step" or is_control(row) or row.obstacle() is not None:
            continue
        if by_structure and not row.structure:
            continue
        yield from _levels(row)


def is_control(row: CompressionRow) -> bool:
    """Say whether a step is only there to be compared with: by lot, without a teacher, or training alone."""
    controls = {other.control.partition(":")[0] for other in COMPRESSIONS.rows().values()}
    return not row.control or (row.control == "finetune" and row.name in controls)


def keeps_shapes(steps: str) -> bool:
    """Say whether steps leave every layer's shape: then they change quality, and no time of dense kernels."""
    return not any(step.row.structure for step in parse_recipe(steps).steps)


def _levels(row: CompressionRow) -> Iterator[str]:
    levels = LEVELS.get(row.argument or "", ())
    found = dict.fromkeys(COMPRESSIONS.parse(f"{row.name}:{level:g}").text for level in levels)
    yield from found or (COMPRESSIONS.default(row.name).text,)


def _formats() -> Iterator[str]:
    for row in COMPRESSIONS.rows().values():
        if row.kind == "format" and row.obstacle() is None:
            yield COMPRESSIONS.default(row.name).text


def _running(left_out: list[str]) -> Iterator[str]:
    for row in BACKENDS.rows().values():
        why = row.unavailable()
        if why is None:
            yield BACKENDS.default(row.name).text
        else:
            left_out.append(f"{row.name}: {why}")


def _chains(steps: Sequence[str]) -> Iterator[str]:
    """Yield the chains of two steps that go together, and change shapes in different ways."""
    for first, second in permutations(steps, 2):
        if _way(first) == _way(second):
            continue
        try:
            yield parse_recipe(f"{first}+{second}").text
        except TechniqueError:
            continue


def _way(steps: str) -> str:
    """Return what steps do to a model, whatever chose the weights and however strongly."""
    return "+".join(
        step.row.structure.partition(":")[0] or step.row.leaves or step.name
        for step in parse_recipe(steps).steps
    )
