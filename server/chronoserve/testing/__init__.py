"""Helpers that ship with chronoserve, so that a third party's back end passes the same bar as the built-in ones.

``conformance`` is the suite, ``clock`` a clock that tests move by hand.
"""
