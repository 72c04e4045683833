"""Spark SQL expressions, compiled to Python: derivations, and the selects and wheres of streams. Pure; no input or output."""
