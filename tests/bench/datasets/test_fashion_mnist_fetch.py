import gzip
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.datasets import fashion_mnist, fetch, load, locate, sources
from bench.datasets.cache import locked
from bench.errors import DataError

Write = Callable[[Path], Path]
Serve = Callable[[Path], str]
FIRST = "train-images-idx3-ubyte"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_real_files_come_from_upstream_where_it_answers(
    cache: Path, real_fashion_mnist: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    for file in fashion_mnist.FILES:
        path = file.within(real_fashion_mnist)
        assert path is not None
        (upstream / f"{file.name}.gz").write_bytes(gzip.compress(bytes(file.read(path)), 1))
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", serve(upstream))
    assert fetch("fashion-mnist") == cache == locate("fashion-mnist")
    assert load("fashion-mnist").test_labels.shape == (10_000,)


def test_cached_file_that_was_changed_is_refused_by_load_and_replaced_by_fetch(
    small: Write, cache: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", serve(small(tmp_path / "upstream")))
    fetch("fashion-mnist")
    (cache / FIRST).write_bytes(bytes(44))
    with pytest.raises(DataError, match=FIRST):
        load("fashion-mnist")
    lines: list[str] = []
    fetch("fashion-mnist", lines.append)
    assert any("downloading it again" in line for line in lines)
    assert load("fashion-mnist").train_images.shape == (7, 2, 2)


def test_wrong_answer_from_upstream_is_passed_over_for_the_package(
    small: Write, cache: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = small(tmp_path / "upstream")
    (upstream / f"{FIRST}.gz").write_bytes(gzip.compress(bytes(44)))
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", serve(upstream))

    def unpack(package: str, folder: Path) -> Path:
        assert package == "dataset-fashion-mnist"
        small(folder / fashion_mnist.SYSTEM_FOLDER.relative_to("/"))
        return folder

    monkeypatch.setattr(sources, "unpack_debian_package", unpack)
    assert fetch("fashion-mnist") == cache
    assert load("fashion-mnist").train_images.shape == (7, 2, 2)


def test_without_any_source_one_line_names_the_ways_and_nothing_is_left(small: Write, cache: Path) -> None:
    for attempt in (load, fetch):
        with pytest.raises(DataError) as caught:
            attempt("fashion-mnist")
        line = str(caught.value)
        assert "\n" not in line
        for way in ("BENCH_DATA_DIR", "`apt install dataset-fashion-mnist`", f"{FIRST}.gz", str(cache)):
            assert way in line
    assert names(cache) == []
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_interrupted_fetch_leaves_nothing_half_written(
    small: Write, cache: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", serve(small(tmp_path / "upstream")))
    download = sources.download

    def interrupted(url: str, target: Path, at_most_bytes: int) -> None:
        if "t10k" in url:
            target.write_bytes(b"half")
            raise KeyboardInterrupt
        download(url, target, at_most_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "download", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("fashion-mnist")
    assert [path.name for path in cache.iterdir()] == [".lock"]
    assert locate("fashion-mnist") is None
    assert fetch("fashion-mnist") == cache


def test_killed_fetch_is_no_data_set_and_the_next_one_tidies_up(
    small: Write, cache: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", serve(small(tmp_path / "upstream")))
    context = multiprocessing.get_context("fork")
    with monkeypatch.context() as patch:
        patch.setattr(sources, "download", _half_then_kill)
        process = context.Process(target=fetch, args=("fashion-mnist",), daemon=True)
        process.start()
        process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert (cache / ".partial").is_dir()
    assert locate("fashion-mnist") is None
    assert fetch("fashion-mnist") == cache
    assert not (cache / ".partial").exists()


def _half_then_kill(url: str, target: Path, at_most_bytes: int) -> None:
    target.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_at_once_fetch_once(
    small: Write, cache: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", serve(small(tmp_path / "upstream")))
    context = multiprocessing.get_context("fork")
    lines = context.SimpleQueue()
    processes = [
        context.Process(target=fetch, args=("fashion-mnist", lines.put), daemon=True) for _ in range(2)
    ]
    with locked(cache):
        for process in processes:
            process.start()
        said = [lines.get(), lines.get()]
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert said == [f"waiting for another process that writes to {cache}"] * 2
    while not lines.empty():
        said.append(lines.get())
    assert sum("getting fashion-mnist from" in line for line in said) == 1
