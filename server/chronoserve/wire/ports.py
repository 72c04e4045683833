"""Ports for several workers; apart from the server, because the supervisor must not import grpc."""

import socket


def reserve_port(address: str) -> tuple[str, socket.socket | None]:
    """For port 0 with several workers: an address whose port is held free for them, and the socket that holds it."""
    host, _, port = address.rpartition(":")
    if address.startswith("unix:") or port != "0":
        return address, None
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((host.strip("[]"), 0))
    return f"{host}:{holder.getsockname()[1]}", holder
