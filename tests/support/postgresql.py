"""A PostgreSQL server of the tests' own: in a temporary folder, on a socket, without a port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

OWNER = "postgres"
STRICT, PASSWORD = "strict", "s3cret&word"
"""The one user who needs a password."""

READY_S = 60


class Server:
    """A server that can be stopped and started again. Each store is a database of its own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._data = folder / "data"
        # The server refuses root, whose tests run it as somebody else.
        self._user = _unprivileged() if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._call(
            "initdb", "-D", self._data, "-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"
        )
        self._rule(f"local all {STRICT} scram-sha-256\nlocal all all trust\n")
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        log = self.folder / "log"
        self._call("pg_ctl", "-D", self._data, "-l", log, "-w", "-t", READY_S, "-o", options, "start")

    def stop(self) -> None:
        """Stop at once, whoever is connected."""
        self._call("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute one statement and return its rows."""
        import psycopg

        where = f"host={self.folder} user={OWNER} dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            done = connection.execute(statement)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []

    def new_store(self) -> str:
        """Create an empty database and return its URL."""
        name = f"store_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def new_strict_store(self) -> str:
        """Create an empty database whose user needs a password; return its URL with the password in it."""
        url = self.new_store()
        database = database_of(url)
        if not self.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{STRICT}'"):
            self.sql(f"CREATE ROLE {STRICT} LOGIN PASSWORD '{PASSWORD}'")
        self.sql(f"GRANT CREATE ON DATABASE {database} TO {STRICT}")
        return self.url(database, f"{STRICT}:{quote(PASSWORD)}")

    def url(self, database: str, user: str = OWNER) -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def _rule(self, rules: str) -> None:
        file = self._data / "pg_hba.conf"
        status = file.stat()
        file.write_text(rules)
        os.chown(file, status.st_uid, status.st_gid)

    def _call(self, program: str, *arguments: object) -> None:
        words = [str(self._programs / program), *map(str, arguments)]
        as_user = {"user": self._user.pw_uid, "group": self._user.pw_gid} if self._user else {}
        # Not a pipe: the server would keep it open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                words,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                check=False,
                **as_user,  # type: ignore[call-overload]
            )
            output.seek(0)
            assert done.returncode == 0, output.read().decode()


def database_of(url: str) -> str:
    """Return the name of the database of a store's URL."""
    return url.partition("@/")[2].partition("?")[0]


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: Debian does not put it on the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return folders[-1].parent if folders else None


@contextmanager
def running() -> Iterator[Server]:
    """Run a server; skip the test where PostgreSQL or its driver is not installed."""
    pytest.importorskip("psycopg", reason="pip install 'dl-efficiency-bench[postgresql]'")
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed: apt install postgresql")
    # A socket's path has at most 107 bytes, which the folders of pytest may exceed.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = Server(programs, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Run a server for the whole session."""
    with running() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Run a server for one test, which may stop it."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty store of either kind: nothing for the results folder's own."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgresql").new_store()


@pytest.fixture
def server_url(postgresql: Server) -> str:
    """Give the URL of an empty store on the server."""
    return postgresql.new_store()


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts[-3].split(".") if part.isdecimal())


def _unprivileged() -> pwd.struct_passwd:
    for name in (OWNER, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("no user but root, whom PostgreSQL refuses")
