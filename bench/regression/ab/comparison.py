"""From what the user asks for to the findings of a comparison of two sides."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.analysis.comparable import differences
from bench.errors import BenchError
from bench.execution.on_demand import Offer
from bench.formatting import counted
from bench.matrix.shipped import shipped_matrices
from bench.metrics import METRICS
from bench.regression.ab.blocks import Rules, Side, Timing, compare, finding
from bench.regression.ab.libraries import difference_of, python_with, requirements_of
from bench.regression.ab.revisions import Say, place_of
from bench.regression.ab.sampling import CommandSampler, MatrixSampler, Place, Sampler
from bench.regression.exact import notes_of_descriptions
from bench.regression.finding import Comparison
from bench.regression.revisions import Repository
from bench.regression.verdict import judge_untimed

Kind = Literal["revisions", "settings", "libraries", "results"]

_SIDES: tuple[Side, ...] = ("A", "B")


@dataclass(frozen=True)
class Options:
    """What to compare and how; `a` and `b` are revisions, filters of the matrix, or folders of results.

    Without `b` it is the work tree, without `a` the merge base with main. `libraries` are two lists of pip's
    requirements with " / " between them. `cell` is a part of the names of the stages to time, and `metric`
    the metric, all by default. `extras` are those of the project that environments of revisions have.
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
    extras: tuple[str, ...] = ()
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


def compare_sides(options: Options, say: Say) -> Comparison:
    """Prepare both sides, sample them in turn, and judge; raises BenchError for what cannot be compared."""
    _check(options)
    with ExitStack() as opened:
        places = opened.enter_context(_places(options, say))
        samplers: dict[Side, Sampler] = {side: _sampler(options, side, places[side]) for side in _SIDES}
        for sampler in samplers.values():
            opened.callback(sampler.close)
        before, after = (_name(options, side, places[side]) for side in _SIDES)
        comparison = Comparison("ab", before, after)
        if places["A"].python != places["B"].python:
            comparison.notes.append(difference_of(places["A"].python, places["B"].python))
        offers = {}
        for side in _SIDES:
            say(f"preparing {side}: {_name(options, side, places[side])}")
            offers[side] = samplers[side].timings()
        timings, notes = _matched(options, offers)
        comparison.notes += notes
        say(f"comparing {counted(len(timings), 'timing')} for at most {options.rules.budget_s:.0f} s")
        chance = random.Random(options.rules.seed)
        compare(
            timings,
            lambda side, key: samplers[side].sample(key),
            lambda: _renew(samplers, chance),
            options.rules,
            say,
        )
        _refuse_what_fails(timings)
        comparison.findings += map(finding, timings)
        first, second = (samplers[side].end() for side in _SIDES)
        if first and second and options.kind != "settings":
            judge_contents(comparison, first, second)
    return comparison


def judge_contents(comparison: Comparison, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Enter what is not timed of both sides; values that follow from the seed only of one environment."""
    differing = differences(first["environment"], second["environment"])
    if differing:
        what = ", ".join(differing)
        comparison.notes.append(f"environments differ in {what}: what follows from the seed is not compared")
    comparison.findings += judge_untimed(first, second, alike=not differing)
    comparison.notes += notes_of_descriptions(first["stages"], second["stages"])


def _renew(samplers: Mapping[Side, Sampler], chance: random.Random) -> None:
    """Give both sides fresh servers at the same time, in random order: nothing is timed meanwhile."""
    both = list(samplers.values())
    chance.shuffle(both)
    for sampler in both:
        sampler.start_renewal()
    for sampler in both:
        sampler.end_renewal()


def _refuse_what_fails(timings: Sequence[Timing]) -> None:
    if all(set(timing.failed) == set(_SIDES) for timing in timings):
        raise BenchError(f"{timings[0].stage} fails on both sides: {timings[0].failed['B']}")


def _check(options: Options) -> None:
    _check_command(options.command)
    if bool(options.command) == bool(options.matrix) and options.kind != "results":
        raise BenchError("bench ab needs --command or --matrix: what is to be timed on both sides")
    if options.command and options.kind in ("settings", "results"):
        raise BenchError("--command compares revisions or libraries; two settings or results need --matrix")
    if options.kind in ("settings", "results") and not (options.a and options.b):
        raise BenchError(f"comparing {options.kind} needs both sides: bench ab A B")
    if options.kind == "libraries":
        requirements_of(options.libraries)
        if options.a or options.b:
            raise BenchError("--with compares two environments of the work tree: leave A and B out")
    if options.kind == "results" and any(
        (options.matrix, options.filter, options.workloads, options.plugins)
    ):
        raise BenchError("results folders bring their own matrix; --cell and --metric choose timings")
    if options.extras and options.kind != "revisions":
        raise BenchError("--extra is for environments of revisions")
    if options.pattern:
        try:
            groups = re.compile(options.pattern).groups
        except re.error as error:
            raise BenchError(f"--printed: {options.pattern!r} is no regular expression: {error}") from None
        if groups != 1:
            raise BenchError(
                f"--printed: needs one group, the number, as 'loss: ([0-9.]+)', got {options.pattern!r}"
            )


def _check_command(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BenchError(f"--command: {command!r} is no command line: {error}") from None
    if command and not words:
        raise BenchError("--command: names no program")


@contextmanager
def _places(options: Options, say: Say) -> Iterator[dict[Side, Place]]:
    here = Path.cwd()
    if options.kind in ("settings", "results"):
        yield {"A": Place(options.a, here), "B": Place(options.b, here)}
        return
    if options.kind == "libraries":
        yield {
            side: Place(" ".join(wanted), here, python_with(wanted, here, say))
            for side, wanted in zip(_SIDES, requirements_of(options.libraries), strict=True)
        }
        return
    repository = Repository(here)
    base = options.a or repository.merge_base_with_main()
    extras = options.extras
    with place_of(repository, base, say, extras) as a, place_of(repository, options.b, say, extras) as b:
        below = here.resolve().relative_to(repository.folder.resolve())
        yield {"A": _in_folder(a, below), "B": _in_folder(b, below)}


def _in_folder(place: Place, below: Path) -> Place:
    """Return a place in the same folder below its top as the user is in."""
    folder = place.folder / below
    if not folder.is_dir():
        raise BenchError(f"{place.name} has no folder {below}")
    return replace(place, folder=folder)


def _sampler(options: Options, side: Side, place: Place) -> Sampler:
    if options.command:
        # A sample of twice the whole budget has no part in any verdict.
        timeout_s = min(options.timeout_s, 60.0 + 2 * options.rules.budget_s)
        return CommandSampler(place, options.command, timeout_s, options.pattern)
    own = options.results.resolve() / "ab"
    name = f"{side}-{re.sub(r'[^A-Za-z0-9._-]+', '-', place.name)[:60]}"
    text = options.a if side == "A" else options.b
    served: dict[str, Any] = {"results": str(own / name), "smoke": options.smoke}
    if options.kind == "results":
        served |= {"kept": str(Path(text).resolve())}
    else:
        filters = [options.filter, *([text] if options.kind == "settings" else [])]
        served |= {
            "matrix": _matrix_of(options, place),
            "filter": ",".join(filter_ for filter_ in filters if filter_),
            "workloads": options.workloads,
            "plugins": [_file_of(path, place) for path in options.plugins],
        }
    return MatrixSampler(place, served, own / f"{name}.log")


def _matrix_of(options: Options, place: Place) -> str:
    """Return the matrix of a side: a shipped one is one file for both, else the side's own if it has one."""
    shipped = shipped_matrices().get(options.matrix)
    return str(shipped) if shipped else _file_of(Path(options.matrix), place)


def _file_of(path: Path, place: Place) -> str:
    """Return a file that was named: a side has its own, where it lies in what is compared."""
    own = not path.is_absolute() and (place.folder / path).is_file()
    return str(path) if own else str(path.resolve())


def _name(options: Options, side: Side, place: Place) -> str:
    if options.kind == "revisions" and side == "A" and not options.a:
        return f"{place.name[:12]} (merge base)"
    return place.name


def _matched(options: Options, offers: Mapping[Side, Sequence[Offer]]) -> tuple[list[Timing], list[str]]:
    """Return the timings that both sides have, and a note on those that one has alone."""
    mine = {side: [offer for offer in offers[side] if _is_wanted(options, offer)] for side in _SIDES}
    if not mine["A"] and not mine["B"]:
        what = " ".join(
            f"--{name} {value}"
            for name, value in (("cell", options.cell), ("metric", options.metric))
            if value
        )
        raise BenchError(f"nothing to time{f' with {what}' if what else ''}; there are: {_listed(offers)}")
    named = {side: {(offer.stage, offer.metric): offer for offer in mine[side]} for side in _SIDES}
    both = [name for name in named["A"] if name in named["B"]]
    pairs = [(named["A"][name], named["B"][name]) for name in both]
    left = {side: [offer for name, offer in named[side].items() if name not in both] for side in _SIDES}
    if options.kind == "settings" and len(left["A"]) == len(left["B"]):
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
    return [_timing(options, a, b) for a, b in pairs], notes


def _timing(options: Options, a: Offer, b: Offer) -> Timing:
    stage = a.stage if a.stage == b.stage else f"{a.stage} against {b.stage}"
    row = METRICS.get(a.metric)
    higher = options.higher if a.metric == "printed" else row is not None and row.better == "higher"
    return Timing(stage, a.metric, {"A": a.key, "B": b.key}, higher)


def _is_wanted(options: Options, offer: Offer) -> bool:
    return options.cell in offer.stage and options.metric in ("", offer.metric)


def _listed(offers: Mapping[Side, Sequence[Offer]]) -> str:
    found: dict[str, Any] = dict.fromkeys(
        f"{offer.stage} {offer.metric}" for side in _SIDES for offer in offers[side]
    )
    names = list(found)
    return "; ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
