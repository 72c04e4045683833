"""``lmdb:///dir``, the embedded default: see docs/reference/stores/lmdb.md.

``environment`` owns files, map and locks, ``rows`` what is stored, ``writer`` the thread that commits, ``store`` is the port.
"""

from chronoserve.kvstore.backends.lmdb.store import open_store

__all__ = ["open_store"]
