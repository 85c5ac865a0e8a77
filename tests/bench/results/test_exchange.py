"""Artifacts at a URL: whole or absent, hashed on the way, and never taken from what is half written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.results import artifacts
from bench.results.exchange import Exchange
from tests.support.object_store import BUCKET, object_store

fsspec = pytest.importorskip("fsspec")

KEY = "ab" * 32


def make(results: Path, content: bytes = b"weights", key: str = KEY) -> None:
    with artifacts.writing(results, key) as folder:
        (folder / "parts").mkdir()
        (folder / "parts" / "one").write_bytes(content)
        (folder / "model.json").write_text("{}")
        artifacts.publish(folder, results, key, artifacts.Making(kind="train", run_id="run-1"))


@pytest.fixture(scope="module")
def s3_server() -> Iterator[dict[str, str]]:
    with object_store() as environment:
        yield environment


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and what it starts, reach a server that speaks S3's protocol."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["file://{}/elsewhere", "memory://{}/elsewhere", f"s3://{BUCKET}{{}}/elsewhere"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param.startswith("s3:"):
        request.getfixturevalue("s3")
    return str(request.param).format(tmp_path)


def test_an_artifact_that_is_published_is_fetched_by_another_folder_as_it_is(
    url: str, tmp_path: Path
) -> None:
    make(tmp_path / "one")
    Exchange(url).publish(tmp_path / "one", KEY)
    assert Exchange(url).fetch(tmp_path / "two", KEY)
    one, two = (artifacts.read_record(tmp_path / name, KEY) for name in ("one", "two"))
    assert one is not None and one == two
    assert (artifacts.artifact_folder(tmp_path / "two", KEY) / "parts" / "one").read_bytes() == b"weights"


def test_what_nobody_published_is_not_there(url: str, tmp_path: Path) -> None:
    assert not Exchange(url).fetch(tmp_path / "two", KEY)
    assert Exchange(url).fetch_alike(tmp_path / "two", KEY[:32]) == []


def test_content_that_has_changed_on_the_way_is_not_taken(tmp_path: Path) -> None:
    make(tmp_path / "one")
    Exchange(f"file://{tmp_path}/elsewhere").publish(tmp_path / "one", KEY)
    (file,) = (tmp_path / "elsewhere").rglob("parts/one")
    file.write_bytes(b"Weights")
    assert not Exchange(f"file://{tmp_path}/elsewhere").fetch(tmp_path / "two", KEY)
    assert not artifacts.artifact_folder(tmp_path / "two", KEY).exists()


def test_no_name_at_the_url_leads_out_of_an_artifact_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "one")
    exchange = Exchange(f"file://{tmp_path}/elsewhere")
    exchange.publish(tmp_path / "one", KEY)
    files = type(exchange._files)
    find = files.find

    def with_another(self: object, source: str) -> list[str]:
        return [*find(self, source), f"{source}/../../../../stolen"]  # as an object's key may be

    monkeypatch.setattr(files, "find", with_another)
    (tmp_path / "stolen").write_text("what somebody wrote")
    assert not exchange.fetch(tmp_path / "two", KEY)
    assert not [path for path in (tmp_path / "two").rglob("*") if path.is_file()]


@pytest.mark.parametrize("sha256", ["../../../secret", "", "AB" * 32])
def test_a_record_that_names_no_hash_is_no_record(tmp_path: Path, sha256: str) -> None:
    make(tmp_path / "one")
    exchange = Exchange(f"file://{tmp_path}/elsewhere")
    exchange.publish(tmp_path / "one", KEY)
    (record,) = (tmp_path / "elsewhere").rglob(artifacts.RECORD)
    content = json.loads(record.read_text())
    content["artifact"]["sha256"] = sha256
    record.write_text(json.dumps(content))
    assert not exchange.fetch(tmp_path / "two", KEY)


def test_what_has_no_key_for_a_name_is_no_artifact(tmp_path: Path) -> None:
    make(tmp_path / "one")
    exchange = Exchange(f"file://{tmp_path}/elsewhere")
    exchange.publish(tmp_path / "one", KEY)
    (record,) = (tmp_path / "elsewhere").rglob(artifacts.RECORD)
    other = record.parent.with_name(KEY[:32] + "-other")
    other.mkdir()
    (other / artifacts.RECORD).write_text(record.read_text())
    assert [folder.name for folder in exchange.fetch_alike(tmp_path / "two", KEY[:32])] == [KEY]
    assert not exchange.fetch(tmp_path / "two", "../" + KEY)


def test_files_without_their_record_are_no_artifact(tmp_path: Path) -> None:
    make(tmp_path / "one")
    exchange = Exchange(f"file://{tmp_path}/elsewhere")
    exchange.publish(tmp_path / "one", KEY)
    next((tmp_path / "elsewhere").rglob(artifacts.RECORD)).unlink()
    assert not exchange.fetch(tmp_path / "two", KEY)


def test_the_last_of_two_nodes_that_made_an_artifact_differently_is_whole(url: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(tmp_path / name, name.encode())
        Exchange(url).publish(tmp_path / name, KEY)
    assert Exchange(url).fetch(tmp_path / "three", KEY)
    place = artifacts.artifact_folder(tmp_path / "three", KEY)
    assert (place / "parts" / "one").read_bytes() == b"two"


def test_artifacts_that_share_the_beginning_of_their_key_come_together(url: str, tmp_path: Path) -> None:
    variant = KEY[:32] + "0" * 32
    for key in (KEY, variant, "cd" * 32):
        make(tmp_path / "one", key=key)
        Exchange(url).publish(tmp_path / "one", key)
    places = Exchange(url).fetch_alike(tmp_path / "two", KEY[:32])
    assert sorted(place.name for place in places) == sorted([KEY, variant])


def test_what_another_node_publishes_is_seen_by_one_that_had_looked_before(url: str, tmp_path: Path) -> None:
    looked = Exchange(url)
    assert looked.fetch_alike(tmp_path / "two", KEY[:32]) == [] and not looked.fetch(tmp_path / "two", KEY)
    make(tmp_path / "one")
    publish_elsewhere(url, tmp_path / "one", KEY)
    assert looked.fetch(tmp_path / "two", KEY)
    assert [place.name for place in Exchange(url).fetch_alike(tmp_path / "two", KEY[:32])] == [KEY]


def test_what_is_published_into_a_folder_that_was_listed_before_is_seen(url: str, tmp_path: Path) -> None:
    variants = [KEY[:32] + digit * 32 for digit in "01"]
    for number, key in enumerate(variants):
        make(tmp_path / key, key=key)
        publish_elsewhere(url, tmp_path / key, key)
        found = Exchange(url).fetch_alike(tmp_path / "two", KEY[:32])
        assert sorted(place.name for place in found) == variants[: number + 1]


def publish_elsewhere(url: str, results: Path, key: str) -> None:
    """Publish an artifact from a process of its own, if it can reach the URL."""
    if url.startswith("memory:"):
        Exchange(url).publish(results, key)
        return
    code = "import sys; from pathlib import Path; from bench.results.exchange import Exchange;"
    code += "Exchange(sys.argv[1]).publish(Path(sys.argv[2]), sys.argv[3])"
    subprocess.run([sys.executable, "-c", code, url, str(results), key], check=True, timeout=120)


def test_a_url_that_stops_answering_is_one_line(tmp_path: Path) -> None:
    make(tmp_path / "one")
    exchange = Exchange(f"file://{tmp_path}/elsewhere")
    exchange.publish(tmp_path / "one", KEY)
    (record,) = (tmp_path / "elsewhere").rglob(artifacts.RECORD)
    record.unlink()
    record.mkdir()  # nobody, not even root, can read it
    with pytest.raises(BenchError) as error:
        exchange.fetch(tmp_path / "two", KEY)
    assert str(error.value).startswith(f"--artifacts file://{tmp_path}/elsewhere: ")
    assert "\n" not in str(error.value)
    with pytest.raises(BenchError):
        exchange.fetch_alike(tmp_path / "two", KEY[:32])


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_one_line_and_is_not_made() -> None:
    with pytest.raises(BenchError) as error:
        Exchange("s3://nowhere/artifacts")
    said = str(error.value)
    assert said.startswith("--artifacts s3://nowhere/artifacts: ") and "bucket" in said and "\n" not in said
    assert not fsspec.filesystem("s3").exists("nowhere")


@pytest.mark.parametrize("wrong", ["nowhere://bucket", "file:///proc/nowhere"])
def test_a_url_that_cannot_be_used_is_one_line(wrong: str) -> None:
    with pytest.raises(BenchError) as error:
        Exchange(wrong)
    assert str(error.value).startswith(f"--artifacts {wrong}: ") and "\n" not in str(error.value)
