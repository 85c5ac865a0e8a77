"""Calls to an agent over a connection that the agent opens to its runner: JSON, never pickle.

Both sides prove that they know the run's key before anything else is read (`multiprocessing.connection`,
"Authentication keys"). The connection's end is the agent's end, seen from either side.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import count
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge, wait
from typing import Any

from bench.execution.engines.agent import Agent, Setup
from bench.execution.engines.remote import NodeLost
from bench.execution.signals import readable_on_signals
from bench.records import read_as

_DIAL_S = 5.0
_CALLS_AT_ONCE = 256
_KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""A machine that has lost its power or its network is noticed after half a minute."""


class Link:
    """The runner's end: what an agent said of itself as it came, and calls to it."""

    def __init__(self, connection: Connection, hello: Mapping[str, Any], ended: Callable[[], None]) -> None:
        self.hello = hello
        self._connection = connection
        self._ended = ended
        self._numbers = count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any]]] | None = {}
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            if self._waiting is not None:
                number = next(self._numbers)
                self._waiting[number] = answer
                with suppress(OSError):  # its end, which the reader finds
                    _send(self._connection, {"number": number, "what": what, "arguments": dict(arguments)})
                return answer
        answer.set_exception(NodeLost("its agent has ended"))
        return answer

    def close(self) -> None:
        """Close the connection, which ends the agent and the reader."""
        _shut_down(self._connection)

    def _read(self) -> None:
        with suppress(EOFError, OSError, ValueError):
            while True:
                message = _receive(self._connection)
                with self._lock:
                    assert self._waiting is not None, "only this thread says that the agent has ended"
                    answer = self._waiting.pop(message["number"])
                answer.set_result(message["answer"])
        with self._lock:
            left, self._waiting = list((self._waiting or {}).values()), None
        self._connection.close()
        self._ended()
        for answer in left:
            answer.set_exception(NodeLost("the connection to its agent ended"))


class Reception:
    """Where a run's agents come in: `received` is called with the connection and the words of each.

    `address` is what it listens at; empty for all of this machine's.
    """

    def __init__(self, received: Callable[[Connection, dict[str, Any]], None], address: str = "") -> None:
        self.key = os.urandom(32)
        self._received = received
        self._listener = Listener((address, 0), "AF_INET", backlog=64)
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.address[1])

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):  # which wakes the thread that waits for an agent
            socket.create_connection(("127.0.0.1", self.port), _DIAL_S).close()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            with suppress(OSError):
                connection = self._listener.accept()
                # Whoever comes and says nothing must not keep others waiting.
                threading.Thread(target=self._admit, args=(connection,), daemon=True).start()

    def _admit(self, connection: Connection) -> None:
        # Whoever comes without the key, or goes again at once, is none of ours.
        with suppress(OSError, EOFError, ValueError, AuthenticationError):
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            _keep_alive(connection)
            self._received(connection, _receive(connection))
            return
        connection.close()


def own_addresses() -> list[str]:
    """Return what other machines may reach this one by, the likeliest first."""
    found = [socket.getfqdn(), socket.gethostname()]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # of a datagram socket, this sends nothing and only finds the route
        found.append(probe.getsockname()[0])
    return list(dict.fromkeys([*found, "127.0.0.1"]))


def serve(addresses: Sequence[str], port: int, key: str, setup: Mapping[str, Any], slot: int) -> None:
    """Be the agent of a node until the runner goes; `slot` is what the runner started it as."""
    connection = _dial(addresses, port, bytes.fromhex(key))
    signals = readable_on_signals()
    for number in (signal.SIGTERM, signal.SIGUSR2):  # submitit has plans of its own for the second
        signal.signal(number, lambda *_: _shut_down(connection))
    with closing(Agent(read_as(Setup, setup))) as agent, ThreadPoolExecutor(_CALLS_AT_ONCE) as calls:
        lock = threading.Lock()

        def answer(message: Mapping[str, Any]) -> None:
            found = agent.call(message["what"], message["arguments"])
            with lock, suppress(OSError):
                _send(connection, {"number": message["number"], "answer": found})

        with suppress(EOFError, OSError):
            _send(connection, {**agent.call("describe", {}), "slot": slot})
            while signals not in wait([connection, signals]):
                calls.submit(answer, _receive(connection))
        agent.close()  # so that calls that still run end


def _dial(addresses: Sequence[str], port: int, key: bytes) -> Connection:
    errors = []
    for address in addresses:
        try:
            socket.create_connection((address, port), _DIAL_S).close()  # a client would wait for minutes
            connection = Client((address, port), "AF_INET", authkey=key)
        except (OSError, EOFError, AuthenticationError) as error:
            errors.append(f"{address}: {error}")
            continue
        _keep_alive(connection)
        return connection
    raise ConnectionError(f"the runner cannot be reached at port {port}; {'; '.join(errors)}")


def _shut_down(connection: Connection) -> None:
    """End a connection that another thread reads: closing it would not wake that thread."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def _keep_alive(connection: Connection) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            shared.setsockopt(socket.IPPROTO_TCP, option, value)


def _send(connection: Connection, message: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _receive(connection: Connection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv_bytes())
    return message
