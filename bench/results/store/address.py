"""The URL of a shared store, and how it is written where others may read it: without its password."""

from __future__ import annotations

import os

import sqlalchemy as sa

from bench.errors import StoreError
from bench.results.folder import STORE_VARIABLE

_DRIVERS = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = ("password", "sslpassword")
_FORM = "--store must be a URL such as postgresql://USER@HOST/DATABASE"


def address_of(store: str | None) -> str:
    """Return the URL that was given, else that of the environment variable; empty where there is none."""
    return os.environ.get(STORE_VARIABLE, "") if store is None else store


def parse_address(text: str) -> sa.URL:
    """Return the URL of a store on a server; raises StoreError, which never repeats the text itself."""
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError(f"{_FORM}; without --store, a file in --results is the store") from None
    if url.drivername not in _DRIVERS:
        raise StoreError(f"{_FORM}, got one of {url.drivername[:40]!r}")
    if not url.database:
        raise StoreError(f"{_FORM}; the database is missing")
    return url.set(drivername="postgresql+psycopg")


def without_password(text: str) -> str:
    """Return the address of a store as it may be shown and kept; raises StoreError where it is none."""
    url = parse_address(text)
    query = {name: value for name, value in url.query.items() if name.lower() not in _SECRETS}
    shown = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return shown.render_as_string(hide_password=False)
