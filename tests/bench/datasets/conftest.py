import functools
import gzip
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench.datasets
from bench.datasets import fashion_mnist
from bench.datasets.idx import IdxFile
from bench.errors import DataError


@pytest.fixture(scope="session")
def real_fashion_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the real files, got by the real code into a cache of the test session."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            # What the user has already is read where it lies.
            folder = bench.datasets.locate("fashion-mnist")
            if folder is None:
                patch.setenv("BENCH_CACHE_DIR", str(tmp_path_factory.mktemp("session-cache")))
                folder = bench.datasets.fetch("fashion-mnist")
        except DataError as error:
            pytest.skip(f"needs the real Fashion-MNIST: {error}")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has no Fashion-MNIST and can reach none; returns where its cache will be."""

    def unreachable(package: str, folder: Path) -> Path:
        raise DataError("no archive here")

    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "usr/share/datasets/fashion-mnist")
    monkeypatch.setattr(fashion_mnist, "UPSTREAM", "http://127.0.0.1:9/")
    monkeypatch.setattr("bench.datasets.sources.unpack_debian_package", unreachable)
    return tmp_path / "cache" / "fashion-mnist"


@pytest.fixture
def small(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Let the data set be of a few images; returns a function that writes its files, packed, to a folder."""
    contents = {}
    files = []
    for file in fashion_mnist.FILES:
        shape = (7 if file.name.startswith("train") else 3, *((2, 2) if len(file.shape) == 3 else ()))
        size = IdxFile(file.name, shape, "").size_bytes
        contents[file.name] = bytes(index % 10 for index in range(size))
        files.append(IdxFile(file.name, shape, hashlib.sha256(contents[file.name]).hexdigest()))
    monkeypatch.setattr(fashion_mnist, "FILES", tuple(files))

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        return folder

    return write


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Return a function that serves a folder over HTTP on this machine and returns its address."""
    servers = []

    def start(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
