"""`bench clean`: find and remove what a results folder no longer needs."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands import RESULTS, Command, Results, StoreUrl
from bench.errors import BenchError
from bench.files import read_json
from bench.formatting import counted, say
from bench.results.artifacts import RECORD, artifact_folders, content_files, unfinished
from bench.results.folder import COMPILE_CACHE, FOLDER_ID, RUN_FOLDER, WORK, alone_in

if TYPE_CHECKING:
    from bench.results.store import Store

KEPT_RUNS = 3

Inode = tuple[int, int]


@dataclass(frozen=True)
class Run:
    """What decides whether a run is kept. A later run of the same `series` replaces it."""

    id: str
    series: tuple[str, bool]  # matrix, smoke
    identity: str
    finished: bool


@dataclass(frozen=True)
class Item:
    """A file or folder to remove and the bytes that this frees; `in_store` if rows of the store name it."""

    what: str
    name: str
    path: Path
    bytes: int
    in_store: bool


@dataclass(frozen=True)
class Survey:
    """Everything to remove. `shared_bytes` is what artifacts save by sharing equal files."""

    kept: tuple[str, ...]
    runs: tuple[str, ...]
    items: tuple[Item, ...]
    row_bytes: int
    shared_bytes: int

    @property
    def bytes(self) -> int:
        return self.row_bytes + sum(item.bytes for item in self.items)


def clean(
    keep: Annotated[
        int,
        typer.Option("--keep", min=0, help="Number of finished runs of each matrix to keep."),
    ] = KEPT_RUNS,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; by default it is only listed.")] = False,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Show what is no longer needed and its size: old runs, artifacts that no kept run uses, leftovers.

    A run that a baseline names is always kept, and so is an unfinished run that can be resumed. In a store
    that several folders share, runs of other folders are kept too.
    """
    from bench.results.store import Store

    store = Store.open(results, store_url or "", create=False)
    with alone_in(results):
        found = survey(store, results, keep)
        for item in found.items:
            say(f"{item.bytes:>15,} bytes  {item.what}: {item.name}")
        if found.row_bytes or (store.url and found.runs):
            rows = f"rows of {counted(len(found.runs), 'run')}" if found.runs else "unused space"
            say(f"{found.row_bytes:>15,} bytes  {rows} in {store.url or store.path.name}")
        say(f"kept: {', '.join(found.kept) or 'no run'}")
        say(f"shared: {found.shared_bytes:,} bytes that several artifacts have in common are stored once")
        if yes:
            say(f"freed: {remove(store, results, found):,} bytes")
        else:
            say(f"would free: {found.bytes:,} bytes; `bench clean --yes` removes it")


COMMANDS = (Command("clean", "Maintain", clean),)


def survey(store: Store, results: Path, keep: int) -> Survey:
    """Find what to remove if the latest `keep` finished runs of each matrix are kept; changes nothing."""
    from bench.regression.baseline import baseline_runs

    rows = store.runs().to_dict("records")
    runs = [_run(row) for row in rows if row["folder"] == store.folder]
    kept = choose_kept(runs, baseline_runs(results), keep)
    gone = tuple(run.id for run in runs if run.id not in kept)
    needed = {stage.key for run in kept for stage in store.stages(run)}
    if other := _other_store(store, results):
        others = [str(id_) for id_ in other.runs()["id"]]
        needed |= {stage.key for run in others for stage in other.stages(run)}
        kept += others
        other.close()
    artifacts = [folder for folder in artifact_folders(results) if folder.name not in needed]
    open_runs = any(run.id in kept and not run.finished for run in runs)
    weigh = _scale(results, artifacts)
    items = [
        *_leftovers(results, weigh),
        *_compile_cache(results, artifacts, open_runs, weigh),
        *(Item("artifact", _title(folder), folder, weigh(folder), True) for folder in artifacts),
        *_reports(results, {*kept, *(row["id"] for row in rows if row["folder"] != store.folder)}, weigh),
    ]
    row_bytes = store.disk_bytes() - store.bytes_without(gone)
    return Survey(tuple(kept), gone, tuple(items), max(0, row_bytes), _shared_bytes(results))


def _other_store(store: Store, results: Path) -> Store | None:
    """Return the store in the folder beside a shared one; all of its runs are kept.

    Raises BenchError where a shared store, whose runs use the folder's artifacts too, is not named.
    """
    from bench.results.store import Store

    if store.url:
        return Store.find(results)
    if (results / FOLDER_ID).exists():
        raise BenchError(
            f"{results}: runs of a shared store use its artifacts too; name that store with --store, "
            f"or remove {FOLDER_ID} if it no longer exists"
        )
    return None


def choose_kept(runs: Sequence[Run], baselines: Collection[str], keep: int) -> list[str]:
    """Return the ids of the runs to keep, of `runs` in the order they were entered.

    They are the latest `keep` finished ones of each series, those that a baseline names, and unfinished ones
    that can be resumed, unless as many finished ones of their series came later.
    """
    later: Counter[tuple[str, bool]] = Counter()
    resumable: set[str] = set()
    kept = []
    for run in reversed(runs):
        wanted = run.id in baselines
        if run.finished:
            wanted |= later[run.series] < keep
            later[run.series] += 1
        elif run.identity not in resumable:
            resumable.add(run.identity)
            wanted |= later[run.series] < max(keep, 1)
        kept += [run.id] if wanted else []
    return kept[::-1]


def remove(store: Store, results: Path, found: Survey) -> int:
    """Remove what was found; return the bytes that this freed.

    Rows are removed before their files, so that a second call finds the rest if the first one is killed.
    Files are removed first only if the transaction would lack the space: a row without its file does no harm.
    """
    size = store.disk_bytes()
    _delete(item for item in found.items if not item.in_store or shutil.disk_usage(results).free < size)
    _delete_unlinked(results)
    store.remove_runs(found.runs)
    _delete(found.items)
    _delete_unlinked(results)
    if found.row_bytes:
        store.compact()
    freed = sum(item.bytes for item in found.items if not item.path.exists())
    return freed + size - store.disk_bytes()


def _run(row: Mapping[Any, Any]) -> Run:
    series = (row["matrix"], bool(row["request"].get("smoke")))
    return Run(row["id"], series, row["identity"], row["state"] == "finished")


def _leftovers(results: Path, weigh: Callable[[Path], int]) -> Iterator[Item]:
    """Yield leftovers of killed runs, and content that no artifact links to."""
    parts = [*unfinished(results), *results.glob("bench.part"), *results.glob("baselines/*.part")]
    work = results / WORK
    for path in [*parts, *([work] if work.exists() else [])]:
        yield Item("leftover", path.name, path, weigh(path), False)
    for path in content_files(results):
        if path.stat().st_nlink == 1:
            yield Item("content", path.name[:12], path, weigh(path), False)


def _compile_cache(
    results: Path, artifacts: Iterable[Path], open_runs: bool, weigh: Callable[[Path], int]
) -> Iterator[Item]:
    """Yield the compile cache if a compiled artifact is removed.

    The other lowered artifacts contain all they need. A run that can be resumed keeps the cache: otherwise
    some of its launches would be compiled from the cache and some from scratch.
    """
    cache = results / COMPILE_CACHE
    lowered = any(_record(folder).get("kind") == "lower" for folder in artifacts)
    if lowered and not open_runs and cache.exists():
        yield Item("cache", COMPILE_CACHE.as_posix(), cache, weigh(cache), False)


def _reports(results: Path, kept: Collection[str], weigh: Callable[[Path], int]) -> Iterator[Item]:
    # Only folders that exist, never a path made from a row: a store may come from someone else.
    for folder in sorted(results.iterdir()):
        if RUN_FOLDER.fullmatch(folder.name) and folder.is_dir() and folder.name not in kept:
            yield Item("report", folder.name, folder, weigh(folder), True)


def _record(folder: Path) -> dict[str, object]:
    try:
        content = read_json(folder / RECORD)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _title(folder: Path) -> str:
    record = _record(folder)
    return f"{record.get('kind', 'of unknown kind')} {record.get('label', '')} ({folder.name[:12]})"


def _scale(results: Path, artifacts: Iterable[Path]) -> Callable[[Path], int]:
    """Return a function that gives the bytes that removing a path frees; a file counts with its last link."""
    going = Counter(_inode(file) for folder in [*artifacts, *unfinished(results)] for file in _files(folder))
    going.update(_inode(file) for file in content_files(results))
    weighed: set[Inode] = set()

    def weigh(path: Path) -> int:
        total = 0
        for file in _files(path):
            status, inode = file.lstat(), _inode(file)
            if inode not in weighed and going.get(inode, status.st_nlink) >= status.st_nlink:
                weighed.add(inode)
                total += status.st_size
        return total

    return weigh


def _shared_bytes(results: Path) -> int:
    links: defaultdict[Inode, list[int]] = defaultdict(list)
    for folder in artifact_folders(results):
        for file in _files(folder):
            links[_inode(file)].append(file.lstat().st_size)
    return sum(sum(sizes[1:]) for sizes in links.values())


def _files(path: Path) -> list[Path]:
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [file for file in path.rglob("*") if file.is_symlink() or not file.is_dir()]


def _inode(file: Path) -> Inode:
    status = file.lstat()
    return status.st_dev, status.st_ino


def _delete(items: Iterable[Item]) -> None:
    for item in items:
        if item.path.is_dir() and not item.path.is_symlink():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)


def _delete_unlinked(results: Path) -> None:
    """Delete content that no artifact links to any more, and folders that become empty."""
    for file in content_files(results):
        if file.stat().st_nlink == 1:
            file.unlink()
    for folder in [*results.glob("artifacts/content/??"), *results.glob("artifacts/??")]:
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
