"""The pages of `bench ui`, as an ASGI application: whoever has its token reads, and nobody writes."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from bench.errors import BenchError
from reports.formats.page import render_page
from reports.ui import pages
from reports.ui.site import Site

_COOKIE = "bench-ui"

_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

Page = Callable[[Site, Request], str]


def make_app(site: Site, hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Starlette:
    """Return the application. Requests to names other than `hosts` are refused: a page elsewhere in the
    browser could have its own name lead to this server (DNS rebinding)."""
    served: dict[str, Page] = {
        "/": pages.runs,
        "/runs/{run}": pages.run,
        "/runs/{run}/record": pages.record,
        "/runs/{run}/report": pages.report,
        "/compare": pages.compare,
        "/history": pages.history,
    }
    routes = [Route(path, _endpoint(site, page), methods=["GET"]) for path, page in served.items()]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
            Middleware(_Door, site=site),
        ],
    )


class _Door:
    """Lets in who has the token: in the URL at first, in a cookie of the browser from then on."""

    def __init__(self, app: Any, site: Site) -> None:
        self._app = app
        self._token = site.token

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        response = self._refusal(request)
        if response is not None:
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer that stands in for the page; None where the request has the cookie."""
        given = request.query_params.get("token", "")
        cookie = cookie_of(request)
        if given and self._is_right(given):
            answer = RedirectResponse(str(request.url.remove_query_params("token")), 303)
            answer.set_cookie(cookie, self._token, httponly=True, samesite="strict")
            return answer
        if self._is_right(request.cookies.get(cookie, "")):
            return None
        return PlainTextResponse("open the address that `bench ui` printed: it has a token\n", 403)

    def _is_right(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self._token.encode())


def cookie_of(request: Request) -> str:
    """Return the name of the cookie that holds the token: a browser keeps one set for all ports of a host."""
    return f"{_COOKIE}-{request.url.port or 80}"


def _endpoint(site: Site, page: Page) -> Callable[[Request], Response]:
    # Not a coroutine: the framework then runs it in a thread of its own.
    def endpoint(request: Request) -> Response:
        try:
            return HTMLResponse(page(site, request), headers=_HEADERS)
        except BenchError as error:
            fault = render_page("ui_fault.html.j2", title="bench ui", fault=str(error))
            return HTMLResponse(fault, 404, headers=_HEADERS)

    return endpoint
