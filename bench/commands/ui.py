"""`bench ui`: a local page over a whole store, for what one file cannot hold."""

from __future__ import annotations

import secrets
import socket
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, StoreUrl
from bench.errors import BenchError
from bench.formatting import say
from bench.plugins import load_plugins

HOST = "127.0.0.1"


def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")] = 0,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Serve pages over a store on this machine: runs, records, comparisons, history.

    Prints the address, with a token without which nothing is shown. Only this machine reaches it, nothing is
    written, and a run may go on meanwhile. Ctrl-C ends it.
    """
    from bench.results.store import Store

    try:
        import uvicorn

        from reports.ui.app import make_app
        from reports.ui.site import Site
    except ModuleNotFoundError as error:
        raise BenchError(
            f"bench ui needs the package {error.name}; pip install 'dl-efficiency-bench[ui]'"
        ) from None
    load_plugins(plugin or [])
    url = store_url or ""
    Store.open(results, url, create=False).close()  # raises where there is none
    token = secrets.token_urlsafe(16)
    app = make_app(Site(results, url, token))
    listening = _listen(port)
    say(f"http://{HOST}:{listening.getsockname()[1]}/?token={token}")
    say("only this machine reaches it; Ctrl-C ends it")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run([listening])


COMMANDS = (Command("ui", "Look", ui, place=1),)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise BenchError(
            f"--port {port}: {error.strerror or error}; another one, or 0 for one that is free"
        ) from None
