"""``python -m tests.engines [NAME …]``: install engines (all of them by default), or say that they are there."""

import sys

from tests.engines import ENGINES, ENVIRONMENTS, installable


def main() -> None:
    for name in sys.argv[1:] or [*ENGINES, *ENVIRONMENTS]:
        engine = installable(name)
        if engine.installed():
            print(f"{name}: installed")
        else:
            print(f"{name}: installing …", flush=True)
            engine.install()
            print(f"{name}: installed" if engine.installed() else f"{name}: NOT installed")


main()
