"""A server on this machine that speaks S3's protocol."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "bucket"

# Not in the extra `dev`: botocore wants python-dateutil below 3, where pip would else take a newer one.
_NEEDS = "make test-s3 runs it in an environment that has moto[s3], flask, flask-cors and s3fs"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Start the server, with an empty bucket; yields the environment of a process that is to reach it."""
    server = pytest.importorskip("moto.server", reason=_NEEDS)
    files = pytest.importorskip("s3fs", reason=_NEEDS).S3FileSystem
    threaded = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    threaded.start()
    try:
        host, port = threaded.get_host_and_port()
        address = f"http://{host}:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")).close()
        files.clear_instance_cache()  # which would go on with another server
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": "secret",
            # Whatever the user's own settings are.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    finally:
        threaded.stop()
