"""``redis://``, ``rediss://``, ``redis+sentinel://``, ``redis+cluster://``: see docs/reference/stores/redis.md.

``connection`` is one pipelined socket, ``node`` dials one server, ``routes`` knows where keys are, ``layout`` what is stored, ``scan``
pages, ``store`` is the port.
"""

from chronoserve.kvstore.backends.redis.store import open_store

__all__ = ["open_store"]
