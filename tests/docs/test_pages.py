"""Whoever follows a page of the documentation gets what it says: its commands and snippets run."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bench.cli import PARENTS
from docs.reference.commands import find_commands, own_options
from docs.reference.pages import PAGES as GENERATED
from tests.support.pages import ROOT, Block, blocks, inline_code, written_pages

PAGES = written_pages()
NAMES = (*PAGES, *GENERATED)
OPTIONS = {
    name: {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}
    for _, name, command in find_commands()
}
"""Each command's options, by its name with its parent's."""

ONE_LAUNCH = "import bench, functools; bench.measure = functools.partial(bench.measure, max_launches=1)\n"
"""What stands above a snippet that measures a model, so that a test need not wait for an interval."""

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def text(name: str, site: Path) -> str:
    """Return the text of the page of that name."""
    return (PAGES.get(name) or site / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_block_of_a_page_runs(name, text, folder_with_a_run, unchanged_tables, command):
    for block in blocks(text):
        if block.how != "slow":
            try_block(f"{name}:{block.line}", block, folder_with_a_run, command, slow=False)


def measures(block: Block) -> bool:
    """Say whether a block measures something, where it is executed as it is."""
    runs = [words for words in block.commands() if words[:2] == ["bench", "run"] and "--dry-run" not in words]
    return block.how == "slow" or (not block.how and bool(runs))


MEASURING = [name for name, path in PAGES.items() if any(map(measures, blocks(path.read_text())))]


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURING)
def test_every_run_of_a_page_measures(name, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for block in blocks(PAGES[name].read_text()):
        if block.title or measures(block):
            try_block(f"{name}:{block.line}", block, tmp_path, command, slow=True)


def try_block(place: str, block: Block, folder: Path, command: Call, *, slow: bool) -> None:
    """Do with a block what its language, title and marker say."""
    if block.how == "none" or block.language == "text":
        return
    if block.title:
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ONE_LAUNCH + block.text if "bench.measure(" in block.text else block.text)
    if block.language == "toml":
        content = tomllib.loads(block.text)
        if block.how == "pyproject":
            check_groups(content)
    elif block.language == "yaml":
        job = next(iter(yaml.safe_load(block.text).values()))
        for lines in (*(step.get("run", "") for step in job.get("steps", ())), *job.get("script", ())):
            check_commands(place, Block(block.line, "sh", "", "", lines))
    elif block.language == "python":
        if not block.title:
            (folder / "block.py").write_text(block.text)
            call(place, sys.executable, "block.py")
    elif block.language == "sh":
        check_commands(place, block)
        if block.how != "checked":
            for words in block.commands():
                carry_out(place, words, command, slow=slow and block.how != "dry-run")
    else:
        pytest.fail(f"{place}: a block of {block.language or 'no language'}")


def carry_out(place: str, words: list[str], command: Call, *, slow: bool) -> None:
    """Run one line of a shell, as far as a test can."""
    words = words[2:] if words[:3] == ["python", "-m", "bench"] else words
    if words[0] == "python":
        call(place, sys.executable, *words[1:])
        return
    if words[0] == "make":
        return  # the target exists, as has been checked
    arguments = words[1:]
    if arguments[:1] == ["run"] and "--dry-run" not in arguments:
        more = ["--smoke"] if slow else ["--dry-run"]
        arguments += [word for word in more if word not in arguments]
    if slow:
        call(place, sys.executable, "-m", "bench", *arguments)
    else:
        done = command(*arguments)
        assert done.returncode == 0, f"{place}: {' '.join(words)}: {done.stdout}{done.stderr}"


def call(place: str, *words: str) -> None:
    """Run a program from the current folder, with this project's packages."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=560, check=False)
    assert done.returncode == 0, f"{place}: {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def check_commands(place: str, block: Block) -> None:
    """Hold each line against what there is: commands with their options, make targets, files, extras."""
    for words in block.commands():
        assert (fault := fault_of(words)) == "", f"{place}: {' '.join(words)}: {fault}"


def fault_of(words: list[str]) -> str:
    """Say what is wrong with a command line, or nothing."""
    program = Path(words[0]).name
    if program == "python" and words[1:2] == ["-m"]:
        if words[2] == "bench":
            return fault_of(["bench", *words[3:]])
        if words[2] == "pip":
            return fault_of(words[2:])
        return "" if importlib.util.find_spec(words[2]) else f"no module {words[2]}"
    if program == "bench":
        return fault_of_arguments(words[1:])
    if program == "make":
        return fault_of_target(words[1:])
    if program == "pytest":
        return "" if (ROOT / words[1]).exists() else f"no {words[1]}"
    if program == "pip":
        return fault_of_package(words[-1])
    if (ROOT / words[0]).is_file():
        return ""
    return "" if program in ("python", "python3", "mkdir", "cp", "cd") else "nothing says how to check this"


def fault_of_arguments(arguments: list[str]) -> str:
    """Say what of the arguments of `bench` does not exist."""
    while arguments and arguments[0].startswith("-"):
        if arguments[0] not in {"--help", *(word for option in own_options() for word in option.opts)}:
            return f"no option {arguments[0]}"
        arguments = arguments[1:]
    if not arguments:
        return ""
    name = (
        " ".join(arguments[:2]) if " ".join(arguments[:2]) in OPTIONS else arguments[0] if arguments else ""
    )
    if name not in OPTIONS:
        return "" if name in PARENTS and len(arguments) == 1 else f"no command {name!r}"
    used = {word.partition("=")[0] for word in arguments if word.startswith("--")} - {"--help"}
    missing = used - OPTIONS[name]
    return f"no option {', '.join(sorted(missing))}" if missing else ""


def fault_of_target(arguments: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text()
    targets = [word for word in arguments if "=" not in word and not word.startswith("-")]
    missing = [word for word in targets if word != "base" and word != "head" and f"\n{word}:" not in makefile]
    return f"no target {missing}" if missing else ""


def fault_of_package(requirement: str) -> str:
    """Say whether an extra of this project that is to be installed does not exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.fullmatch(r"dl-efficiency-bench\[(\w+)\]", requirement)
    return f"no extra {found[1]!r}" if found and found[1] not in extras else ""


def check_groups(content: dict[str, dict[str, dict[str, object]]]) -> None:
    from docs.reference.protocols import entry_point_groups

    groups = content["project"]["entry-points"]
    assert set(groups) <= set(entry_point_groups())


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_a_page_names_exists_with_its_options(name, text):
    for code in inline_code(text):
        if re.match(r"(python -m bench|bench|make) [a-z-]", code):
            words = re.sub(r"\[.*?\]|\.\.\.|'", "", code).split()
            assert (fault := fault_of(words)) == "", f"{name}: `{code}`: {fault}"


@pytest.mark.parametrize("name", NAMES)
def test_every_module_and_file_that_a_page_names_exists(name, text):
    dotted = re.findall(r"(?<![\w/])(?:bench|techniques|reports|tests)(?:\.[a-z_]+)+(?![\w/])", text)
    for module in {word for word in dotted if not word.endswith((".sqlite", ".md", ".py"))}:
        assert module in entry_points() or exists(module), f"{name}: {module}"
    for code in inline_code(text):
        if re.match(r"(bench|techniques|reports|tests|docs|results/examples|\.github)/", code):
            assert list(ROOT.glob(code.rstrip("/"))), f"{name}: {code}"


def entry_points() -> list[str]:
    from docs.reference.protocols import entry_point_groups

    return list(entry_point_groups())


def exists(module: str) -> bool:
    """Say whether a dotted name is a module, or something in one."""
    head, _, tail = module.rpartition(".")
    path = ROOT.joinpath(*module.split("."))
    if path.with_suffix(".py").is_file() or path.is_dir():
        return True
    if not head:
        return False
    return hasattr(importlib.import_module(head), tail) if exists(head) else False
