"""Programs that engines need of the machine, installed from Debian's packages where that is possible."""

import os
import shutil
import subprocess


def need(program: str, package: str) -> None:
    """Make sure that ``program`` is there.

    Raises:
        FileNotFoundError: it is not, and this user or machine cannot install ``package``.
    """
    if shutil.which(program):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True)
    if not shutil.which(program):
        raise FileNotFoundError(f"{program} is not installed: install it, for example as root with apt-get install {package}")
