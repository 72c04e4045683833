"""The sockets that the native transport listens on. grpcio makes its own."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chronoserve.model.errors import InvalidRequest

BACKLOG = 4096
"""Connections that wait to be accepted; the system has a bound of its own."""
UNIX = "unix:"


class Listening:
    """Sockets for addresses as the configuration has them, until the transport takes them over."""

    def __init__(self, *, reuse_port: bool) -> None:
        self._reuse_port = reuse_port
        self._sockets: list[socket.socket] = []
        self._files: list[tuple[Path, int]] = []
        self.addresses: list[str] = []
        """Those that are listened on, with the ports that were free."""

    def bind(self, addresses: Sequence[str]) -> None:
        """Listen on all of them, or on none.

        Raises:
            InvalidRequest: one cannot be listened on; the message names it.
        """
        for address in addresses:
            try:
                self.addresses.append(self._bind_unix(address) if address.startswith(UNIX) else self._bind_port(address))
            except OSError as failed:
                for each in self._sockets:
                    each.close()
                raise cannot_listen(address) from failed

    def _bind_unix(self, address: str) -> str:
        """A socket that an earlier server has left is replaced; any other file is not."""
        path = Path(address.removeprefix(UNIX))
        if path.is_socket():
            path.unlink()
        self._listen(socket.AF_UNIX, str(path))
        self._files.append((path, path.stat().st_ino))
        return address

    def _bind_port(self, address: str) -> str:
        """On every address that the host's name has, with one port."""
        host, _, port = address.rpartition(":")
        for family, _, _, _, found in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            port = str(self._listen(family, (found[0], int(port), *found[2:]))[1])
        return f"{host}:{port}"

    def _listen(self, family: int, address: Any) -> Any:
        """The address that the socket has got."""
        listening = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(listening)
        if family != socket.AF_UNIX:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        return listening.getsockname()

    def give_away(self) -> list[tuple[int, bool]]:
        """Descriptors for whoever serves them, who closes them too; and whether each is a Unix socket."""
        given = [(each.fileno(), each.family == socket.AF_UNIX) for each in self._sockets]
        for each in self._sockets:
            each.detach()
        self._sockets.clear()
        return given

    def remove_files(self) -> None:
        """The Unix sockets' files, unless they are a successor's already."""
        for path, inode in self._files:
            with suppress(OSError):
                if path.stat().st_ino == inode:
                    path.unlink()


def cannot_listen(address: str) -> InvalidRequest:
    return InvalidRequest(f"cannot listen on {address}: is it taken, or not an address of this machine?")
