"""Engines of the JVM: their jars come from Maven's registry, whose address and mirrors are Maven's own settings."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.engines.engine import CACHE, Engine, Process, free_port
from tests.engines.packages import need

INSTALL_SECONDS_MAX = 900


def install_jars(pom: str, home: Path, *, finish: Callable[[Path], None]) -> None:
    """Put what ``pom`` depends on into ``home/lib``; ``finish`` completes the folder before it takes its place.

    Raises:
        FileNotFoundError: there is no Maven or Java and none could be installed; the text says what to install.
    """
    need("java", "openjdk-17-jre-headless")
    need("mvn", "maven")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        fresh = Path(scratch, "home")
        fresh.mkdir()
        (fresh / "pom.xml").write_text(pom)
        command = ["mvn", "-q", "-B", "-ntp", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        subprocess.run([*command, f"-DoutputDirectory={fresh / 'lib'}"], cwd=fresh, check=True, timeout=INSTALL_SECONDS_MAX)
        finish(fresh)
        fresh.rename(home)


def runnable(home: Path) -> bool:
    """Whether the jars are there and something can run them."""
    return home.is_dir() and shutil.which("java") is not None


class JVMEngine(Engine):
    """One process on a loopback port, of the jars that ``pom`` depends on."""

    pom: str
    home: Path

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._process: Process | None = None

    @classmethod
    def install(cls) -> None:
        if not cls.installed():
            install_jars(cls.pom, cls.home, finish=cls.finish)

    @staticmethod
    def finish(home: Path) -> None:
        """Complete the folder of the jars."""

    @classmethod
    def installed(cls) -> bool:
        return runnable(cls.home)

    def processes(self) -> list[Process]:
        return [self._process] if self._process else []
