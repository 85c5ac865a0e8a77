"""`bench ui`: prints an address that works on this machine, and says what is wrong in one line."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.support.synthetic_run import Synthetic, build

pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    build(folder, Synthetic(optimizers=("adam",), compressions=("none",))).close()
    return folder


def test_the_printed_address_opens_the_store_until_it_is_ended(results: Path) -> None:
    words = [sys.executable, "-m", "bench", "ui", "--results", str(results)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = re.match(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", server.stdout.readline())
        try:
            assert address
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            with opener.open(address[0]) as answer:
                assert "run-1" in answer.read().decode()
        finally:
            server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def test_without_a_store_or_with_a_taken_port_it_says_so(command, results: Path, tmp_path: Path) -> None:
    missing = command("ui", "--results", tmp_path / "none")
    assert missing.returncode == 2 and "no results yet" in missing.stderr and missing.stderr.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = command("ui", "--results", results, "--port", taken.getsockname()[1])
    assert refused.returncode == 2 and "Address already in use" in refused.stderr
