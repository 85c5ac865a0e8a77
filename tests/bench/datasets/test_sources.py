import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.datasets import sources
from bench.errors import DataError


def test_download_writes_what_the_server_answers(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    (tmp_path / "file").write_bytes(b"content" * 100_000)
    sources.download(serve(tmp_path) + "file", tmp_path / "got", at_most_bytes=700_000)
    assert (tmp_path / "got").read_bytes() == (tmp_path / "file").read_bytes()


def test_download_says_what_the_server_refused(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    with pytest.raises(DataError, match=r"/absent: HTTP Error 404"):
        sources.download(serve(tmp_path) + "absent", tmp_path / "got", at_most_bytes=10)


def test_download_stops_at_more_than_was_expected(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(DataError, match="more than the 6 bytes expected"):
        sources.download(serve(tmp_path) + "file", tmp_path / "got", at_most_bytes=6)


def test_download_from_a_closed_port_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/x: .*refused"):
        sources.download("http://127.0.0.1:9/x", tmp_path / "got", at_most_bytes=10)


def answer_with(answer: bytes, then_wait: bool) -> tuple[str, socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)
            if then_wait:
                connection.recv(1)

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/", server


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_server_that_falls_silent_is_given_up(tmp_path: Path, answer: bytes) -> None:
    url, server = answer_with(answer, then_wait=True)
    with server, pytest.raises(DataError, match="timed out"):
        sources.download(url, tmp_path / "got", at_most_bytes=10, timeout_s=0.2)


def test_answer_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    url, server = answer_with(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then_wait=False)
    with server, pytest.raises(DataError, match="cut off after 4 of 9 bytes"):
        sources.download(url, tmp_path / "got", at_most_bytes=10)


def test_system_without_apt_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="Debian's package some: no apt-get and no dpkg-deb here"):
        sources.unpack_debian_package("some", tmp_path)


FAKE_APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
*update*) exit 0;;
*Dir::State=*) touch some_1_all.deb;;
*) echo "W: a warning" >&2; echo "E: Unable to locate package some" >&2; exit 100;;
esac
"""


def test_where_apts_own_lists_do_not_serve_it_is_given_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    log = tmp_path / "log"
    for name, text in {
        "apt-get": FAKE_APT.format(log=log),
        "dpkg-deb": '#!/bin/sh\nmkdir "$3"; : > "$3/unpacked"\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    folder = tmp_path / "scratch"
    folder.mkdir()
    files = sources.unpack_debian_package("some", folder)
    assert (files / "unpacked").exists()
    commands = log.read_text().splitlines()
    assert [line.split()[-1] for line in commands] == ["some", "update", "some"]
    assert [f"-oDir::State={folder}" in line for line in commands] == [False, True, True]


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_package_that_no_archive_has_is_an_error_with_apts_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without this the test would fetch the archive's lists before it fails.
    monkeypatch.setattr(sources, "_own_lists", lambda folder: ("--no-download",))
    with pytest.raises(DataError, match=r"apt-get .*: E: ") as caught:
        sources.unpack_debian_package("no-such-package-of-data", tmp_path)
    assert "\n" not in str(caught.value)
