"""``python -m chronoserve`` is the command ``chronoserve``."""

from chronoserve.app.cli import main

main(prog_name="chronoserve")
