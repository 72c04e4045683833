"""DogStatsD over UDP or a Unix datagram socket: lines gathered into datagrams, never waited for."""

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chronoserve.model.errors import InvalidRequest

DATAGRAM_BYTES_MAX = 1432
"""What passes an Ethernet in one piece."""

_UNFIT = re.compile(r"[\s,|#]")
"""What would end a tag, or the line."""

Tags = Sequence[tuple[str, str | None]]
"""Names and values; those without a value are left out."""


def line(name: str, value: float, kind: str, tags: Tags = (), *, rate: float = 1.0) -> bytes:
    """One metric. ``kind``: ``c`` counter, ``d`` distribution, ``g`` gauge; ``rate``: the share of the values that is sent."""
    sampled = f"|@{rate:g}" if rate != 1.0 else ""
    return f"{name}:{_number(value)}|{kind}{sampled}{_tagged(tags)}".encode()


def event(title: str, text: str, tags: Tags = ()) -> bytes:
    """One event. Lengths are in UTF-8 bytes."""
    return f"_e{{{len(title.encode())},{len(text.encode())}}}:{title}|{text}{_tagged(tags)}".encode()


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def _tagged(tags: Tags) -> str:
    given = ",".join(f"{name}:{_UNFIT.sub('_', value)}" for name, value in tags if value)
    return f"|#{given}" if given else ""


def datagrams(lines: Iterable[bytes]) -> Iterable[bytes]:
    """The lines in as few datagrams as they fit into."""
    waiting: list[bytes] = []
    size = 0
    for each in lines:
        if waiting and size + len(each) > DATAGRAM_BYTES_MAX:
            yield b"\n".join(waiting)
            waiting, size = [], 0
        waiting.append(each)
        size += len(each) + 1
    if waiting:
        yield b"\n".join(waiting)


class StatsdSocket:
    """Sends datagrams to one agent. What the kernel does not take at once is counted in ``lost`` and forgotten."""

    def __init__(self, host: str, port: int) -> None:
        """``port`` 0: ``host`` is the path of a Unix socket, as Chronon has it. Blocking: the name is looked up once.

        Raises:
            InvalidRequest: there is no such host.
        """
        self.lost = 0
        family, address = _resolved(host, port) if port else (socket.AF_UNIX, host)
        self._address = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, lines: Iterable[bytes]) -> None:
        """Send the lines now."""
        for datagram in datagrams(lines):
            try:
                self._socket.sendto(datagram, self._address)
            except OSError:
                self.lost += 1

    def close(self) -> None:
        self._socket.close()


def _resolved(host: str, port: int) -> tuple[int, Any]:
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as unknown:
        raise InvalidRequest(f"the StatsD agent's host {host} is not known here", field="statsd.host") from unknown
    return family, address


def changes(now: Mapping[str, int], before: dict[str, int]) -> Iterable[tuple[str, int]]:
    """What each counter has grown by since ``before``, which is brought up to date; counters that stand still are left out."""
    for name, count in list(now.items()):
        grown = count - before.get(name, 0)
        before[name] = count
        if grown:
            yield name, grown
