"""Virtual environments of tools that cannot live in the project's own, each locked by hashes and kept below ``CACHE``."""

import hashlib
import subprocess
import sys
from pathlib import Path

from chronoserve.app.compiling import environment as compiling
from tests.engines.engine import CACHE, Installable

ROOT = Path(__file__).parents[2]


class Environment(Installable):
    """``requirements/<name>.lock`` in an environment of its own; another lock makes another environment."""

    @classmethod
    def _lock(cls) -> Path:
        return ROOT / "requirements" / f"{cls.name}.lock"

    @classmethod
    def directory(cls) -> Path:
        return CACHE / f"{cls.name}-{hashlib.sha256(cls._lock().read_bytes()).hexdigest()[:12]}"

    @classmethod
    def python(cls) -> Path:
        return cls.directory() / "bin" / "python"

    @classmethod
    def installed(cls) -> bool:
        return (cls.directory() / ".ready").exists()

    @classmethod
    def install(cls) -> None:
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, cls.directory()], check=True)
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", cls.python(), "--require-hashes", "-r", cls._lock()]
        subprocess.run(install, check=True)
        (cls.directory() / ".ready").touch()


class Airflow2(Environment):
    name = "airflow2"


class Airflow3(Environment):
    name = "airflow3"


class Chronon(Environment):
    """chronon-ai, where ``chronoserve compile`` installs and looks for it."""

    name = "chronon"

    @classmethod
    def directory(cls) -> Path:
        return compiling.default_directory()

    @classmethod
    def install(cls) -> None:
        compiling.install()


class Dagster(Environment):
    name = "dagster"


class Prefect(Environment):
    name = "prefect"


class Spark(Environment):
    """PySpark with what our own jobs need inside its executors."""

    name = "spark"
