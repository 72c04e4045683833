"""Writes docs/reference/derivations.md from the registry of SQL functions."""  # noqa: INP001 - scripts are no package

from pathlib import Path

from chronoserve.sql.reference import markdown

if __name__ == "__main__":
    Path("docs/reference/derivations.md").write_text(markdown(), encoding="utf-8")
