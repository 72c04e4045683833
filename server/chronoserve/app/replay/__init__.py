"""Recordings of Chronon's JVM, replayed and compared value by value (golden/README.md says what a recording holds).

The modules here read a recording (``recording``), answer each of its records with our own code (``worlds``,
``aggregations``, ``schemas``, ``derivations``), compare typed values (``compare``) and tell which difference a
numbered note of docs/parity.md explains (``notes``). ``chronoserve verify`` is their shell.
"""
