"""From what the user asks for to the findings of a comparison of two sides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError
from bench.execution.on_demand import Offer
from bench.formatting import counted
from bench.matrix.shipped import shipped_matrices
from bench.metrics import METRICS
from bench.regression.ab.blocks import Rules, Side, Timing, compare, finding
from bench.regression.ab.revisions import Say, environment, merge_base, place_of, top_of
from bench.regression.ab.sampling import CommandSampler, MatrixSampler, Place, Sampler
from bench.regression.finding import Comparison
from bench.regression.verdict import judge_untimed
from bench.results.store import Store

Kind = Literal["revisions", "settings", "libraries", "results"]

_SIDES: tuple[Side, ...] = ("A", "B")


@dataclass(frozen=True)
class Asked:
    """What to compare and how; `a` and `b` are revisions, filters of the matrix, or folders of results.

    Without `b` it is the work tree, without `a` the merge base with main. `libraries` are two lists of pip's
    requirements with " / " between them. `cell` is a part of the names of the stages to time, and `metric`
    the metric, all by default.
    """

    a: str = ""
    b: str = ""
    command: str = ""
    matrix: str = ""
    filter: str = ""
    workloads: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    libraries: str = ""
    cell: str = ""
    metric: str = ""
    pattern: str = ""
    higher: bool = False
    smoke: bool = False
    timeout_s: float = 3600.0
    results: Path = Path("results")
    rules: Rules = field(default_factory=lambda: Rules(120.0, 0.01))

    @property
    def kind(self) -> Kind:
        if self.libraries:
            return "libraries"
        sides = [side for side in (self.a, self.b) if side]
        if any((Path(side) / "bench.sqlite").is_file() for side in sides):
            return "results"
        return "settings" if any("=" in side for side in sides) else "revisions"


def compare_sides(asked: Asked, say: Say) -> Comparison:
    """Prepare both sides, sample them in turn, and judge; raises BenchError for what cannot be compared."""
    _check(asked)
    with ExitStack() as opened:
        places = opened.enter_context(_places(asked, say))
        samplers: dict[Side, Sampler] = {side: _sampler(asked, side, places[side]) for side in _SIDES}
        for sampler in samplers.values():
            opened.callback(sampler.close)
        before, after = (_name(asked, side, places[side]) for side in _SIDES)
        comparison = Comparison("ab", before, after)
        offers = {}
        for side in _SIDES:
            say(f"preparing {side}: {_name(asked, side, places[side])}")
            offers[side] = samplers[side].timings()
        timings, notes = _matched(asked, offers)
        comparison.notes += notes
        say(f"comparing {counted(len(timings), 'timing')} for at most {asked.rules.budget_s:.0f} s")
        compare(
            timings,
            lambda side, key: samplers[side].sample(key),
            lambda side: samplers[side].renew(),
            asked.rules,
            say,
        )
        comparison.findings += map(finding, timings)
        first, second = (samplers[side].end() for side in _SIDES)
        if first and second and asked.kind != "settings":
            comparison.findings += judge_untimed(first, second, alike=asked.kind != "libraries")
    return comparison


def _check(asked: Asked) -> None:
    if bool(asked.command) == bool(asked.matrix) and asked.kind != "results":
        raise BenchError("bench ab needs --command or --matrix: what is to be timed on both sides")
    if asked.command and asked.kind in ("settings", "results"):
        raise BenchError("--command compares revisions or libraries; two settings or results need --matrix")
    if asked.kind in ("settings", "results") and not (asked.a and asked.b):
        raise BenchError(f"comparing {asked.kind} needs both sides: bench ab A B")
    if asked.kind == "libraries" and asked.libraries.count(" / ") != 1:
        raise BenchError(
            "--with: must be two lists with ' / ' between, as 'torch==2.12 / torch==2.13', "
            f"got {asked.libraries!r}"
        )
    if asked.kind == "libraries" and (asked.a or asked.b):
        raise BenchError("--with compares two environments of the work tree: leave A and B out")
    if asked.pattern:
        try:
            groups = re.compile(asked.pattern).groups
        except re.error as error:
            raise BenchError(f"--printed: {asked.pattern!r} is no regular expression: {error}") from None
        if groups != 1:
            raise BenchError(
                f"--printed: needs one group, the number, as 'loss: ([0-9.]+)', got {asked.pattern!r}"
            )


@contextmanager
def _places(asked: Asked, say: Say) -> Iterator[dict[Side, Place]]:
    here = Path.cwd()
    if asked.kind in ("settings", "results"):
        yield {"A": Place(asked.a, here), "B": Place(asked.b, here)}
        return
    if asked.kind == "libraries":
        both = [pins.split() for pins in asked.libraries.split(" / ")]
        names = [
            hashlib.sha256(" ".join([*sorted(pins), str(here)]).encode()).hexdigest()[:16] for pins in both
        ]
        pythons = [
            environment(f"with-{name}", pins, say, beside=True)
            for name, pins in zip(names, both, strict=True)
        ]
        yield {
            side: Place(" ".join(pins), here, python)
            for side, pins, python in zip(_SIDES, both, pythons, strict=True)
        }
        return
    top = top_of(here)
    base = asked.a or merge_base(top)
    with place_of(top, base, say) as a, place_of(top, asked.b, say) as b:
        below = here.resolve().relative_to(top.resolve())
        yield {"A": _in_folder(a, below), "B": _in_folder(b, below)}


def _in_folder(place: Place, below: Path) -> Place:
    """Return a place in the same folder below its top as the user is in."""
    folder = place.folder / below
    if not folder.is_dir():
        raise BenchError(f"{place.name} has no folder {below}")
    return replace(place, folder=folder)


def _sampler(asked: Asked, side: Side, place: Place) -> Sampler:
    if asked.command:
        return CommandSampler(place, asked.command, asked.timeout_s, asked.pattern)
    own = asked.results.resolve() / "ab"
    name = f"{side}-{re.sub(r'[^A-Za-z0-9._-]+', '-', place.name)[:60]}"
    text = asked.a if side == "A" else asked.b
    filters = [asked.filter, *([text] if asked.kind == "settings" else [])]
    results = Path(text).resolve() if asked.kind == "results" else own / name
    served = {
        "matrix": _matrix_of(asked, place, results),
        "filter": ",".join(filter_ for filter_ in filters if filter_),
        "workloads": asked.workloads,
        "plugins": [_file_of(path, place) for path in asked.plugins],
        "results": str(results),
        "smoke": asked.smoke,
    }
    return MatrixSampler(place, served, own / f"{name}.log")


def _matrix_of(asked: Asked, place: Place, results: Path) -> str:
    """Return the matrix of a side: a shipped one is one file for both, else the side's own if it has one."""
    matrix = asked.matrix
    if not matrix:
        store = Store.open(results, create=False)
        try:
            return str(store.run(store.find_run(None))["matrix"])
        finally:
            store.close()
    shipped = shipped_matrices().get(matrix)
    return str(shipped) if shipped else _file_of(Path(matrix), place)


def _file_of(path: Path, place: Place) -> str:
    """Return a file that was named: a side has its own, where it lies in what is compared."""
    own = not path.is_absolute() and (place.folder / path).is_file()
    return str(path) if own else str(path.resolve())


def _name(asked: Asked, side: Side, place: Place) -> str:
    if asked.kind == "revisions" and side == "A" and not asked.a:
        return f"{place.name[:12]} (merge base)"
    return place.name


def _matched(asked: Asked, offers: Mapping[Side, Sequence[Offer]]) -> tuple[list[Timing], list[str]]:
    """Return the timings that both sides have, and a note on those that one has alone."""
    mine = {side: [offer for offer in offers[side] if _is_asked(asked, offer)] for side in _SIDES}
    if not mine["A"] and not mine["B"]:
        what = " ".join(
            f"--{name} {value}" for name, value in (("cell", asked.cell), ("metric", asked.metric)) if value
        )
        raise BenchError(f"nothing to time{f' with {what}' if what else ''}; there are: {_listed(offers)}")
    named = {side: {(offer.stage, offer.metric): offer for offer in mine[side]} for side in _SIDES}
    both = [name for name in named["A"] if name in named["B"]]
    pairs = [(named["A"][name], named["B"][name]) for name in both]
    left = {side: [offer for name, offer in named[side].items() if name not in both] for side in _SIDES}
    if asked.kind == "settings" and len(left["A"]) == len(left["B"]):
        # Names of stages have the setting in them; the cells of both sides come in the same order.
        pairs += zip(left["A"], left["B"], strict=True)
        left = {"A": [], "B": []}
    notes = [
        f"only {side} times {counted(len(alone), 'stage')}, such as {alone[0].stage}"
        for side, alone in left.items()
        if alone
    ]
    if not pairs:
        raise BenchError(f"A and B have no timing in common: {'; '.join(notes)}")
    return [_timing(asked, a, b) for a, b in pairs], notes


def _timing(asked: Asked, a: Offer, b: Offer) -> Timing:
    stage = a.stage if a.stage == b.stage else f"{a.stage} against {b.stage}"
    row = METRICS.get(a.metric)
    higher = asked.higher if a.metric == "printed" else row is not None and row.better == "higher"
    return Timing(stage, a.metric, {"A": a.key, "B": b.key}, higher)


def _is_asked(asked: Asked, offer: Offer) -> bool:
    return asked.cell in offer.stage and asked.metric in ("", offer.metric)


def _listed(offers: Mapping[Side, Sequence[Offer]]) -> str:
    found: dict[str, Any] = dict.fromkeys(
        f"{offer.stage} {offer.metric}" for side in _SIDES for offer in offers[side]
    )
    names = list(found)
    return "; ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
