"""``mongodb://`` and ``mongodb+srv://``: see docs/reference/stores/mongodb.md.

``connection`` reads the URL and prepares the collections, ``calls`` maps deadlines and errors, ``layout`` knows the documents,
``store`` is the port.
"""

from chronoserve.kvstore.backends.mongodb.store import open_store

__all__ = ["open_store"]
