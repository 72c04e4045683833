"""`make bench`: how fast, beside whom, on what machine."""
