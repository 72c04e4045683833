"""``dynamodb://region/table-prefix``: see docs/reference/stores/dynamodb.md.

``aws`` signs and sends, ``layout`` knows tables and items, ``store`` is the port.
"""

from chronoserve.kvstore.backends.dynamodb.store import open_store

__all__ = ["open_store"]
