"""A store of four runs, served by `bench ui` over a real socket."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from bench.records import Measurement
from reports.ui.site import Site
from tests.support.hostile import NAMES
from tests.support.synthetic_run import Synthetic, build

TOKEN = "a-token"
MADE_UP = Synthetic(optimizers=("adam",), compressions=("none", "int8-static"), launches=6)
SLOWER = {"infer digits/dense@cpu-eager": (Measurement("latency_s", 2e-3, n=500),)}
HOSTILE = "<script>alert(1)<b>\"'&\x1b[31m" + "n" * 300

Get = Callable[[str], str]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    build(folder, MADE_UP, run_id="run-1").close()
    build(folder, replace(MADE_UP, measured=SLOWER), run_id="run-2").close()
    build(folder, replace(MADE_UP, workloads=(HOSTILE, *NAMES)), run_id="run-hostile").close()
    build(folder, MADE_UP, run_id="run-going-on", finish=False).close()
    return folder


@pytest.fixture(scope="module")
def address(results: Path) -> Iterator[str]:
    with serving(results, TOKEN) as address:
        yield address


@contextmanager
def serving(results: Path, token: str) -> Iterator[str]:
    """Serve a store, and return the address."""
    from reports.ui.app import make_app

    uvicorn = pytest.importorskip("uvicorn")
    app = make_app(Site(results, "", token))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    while not server.started:
        assert running.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    running.join()


@pytest.fixture(scope="module")
def get(address: str) -> Get:
    """Get pages as a browser does that once had the token."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    opener.open(f"{address}/?token={TOKEN}").close()

    def read(path: str) -> str:
        with opener.open(address + path) as answer:
            return str(answer.read().decode())

    return read
