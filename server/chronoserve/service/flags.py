"""Chronon's flags, from the configuration: each is set for group bys whose name matches a pattern."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from chronoserve.fetcher.ports import GROUP_BY_ATTRIBUTE

GROUP_BYS_MAX = 20_000
"""Decisions that are remembered; past it they are made again."""


class ConfiguredFlags:
    """A FlagStore whose flags do not change. A flag that is not configured is not set for anything."""

    def __init__(self, patterns: Mapping[str, Sequence[str]]) -> None:
        """``patterns``: names of group bys by flag, with ``*`` and ``?`` as in a shell."""
        self._patterns = patterns
        self._decided: dict[tuple[str, str], bool] = {}

    def is_set(self, flag: str, attributes: Mapping[str, str]) -> bool:
        name = attributes.get(GROUP_BY_ATTRIBUTE, "")
        decided = self._decided.get((flag, name))
        if decided is None:
            if len(self._decided) >= GROUP_BYS_MAX:
                self._decided.clear()
            decided = self._decided[flag, name] = any(fnmatchcase(name, pattern) for pattern in self._patterns.get(flag, ()))
        return decided
