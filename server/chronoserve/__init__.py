"""chronoserve: Chronon's online half for everybody."""

__version__ = "0.1.0"
