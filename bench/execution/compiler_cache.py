"""Keeps what the C++ compiler made: models of one structure share their code, whatever their weights."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def compiler_cache(folder: Path) -> dict[str, str]:
    """Return the environment in which Inductor compiles through ccache, which keeps its files in `folder`.

    A link to ccache that bears a compiler's name works as that compiler (ccache manual, "Run modes"). Empty
    where there is no ccache or no compiler: then everything is compiled each time.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ccache = shutil.which("ccache", path=places)
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if ccache is None or compiler is None:
        return {}
    link = folder / Path(compiler).name
    if not link.is_symlink() or link.readlink() != Path(ccache):
        folder.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(ccache)
    return {"CXX": str(link), "CCACHE_COMPILER": compiler, "CCACHE_DIR": str(folder), "CCACHE_MAXSIZE": "2G"}
