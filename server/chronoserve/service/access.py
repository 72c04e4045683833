"""Who may do what: identity, verb and dataset, default deny (spec/reliability.md R22, R24)."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


class Verb(enum.Enum):
    """What a caller wants to do with a dataset."""

    READ = "read"
    WRITE = "write"
    """Put and delete."""
    ADMIN = "admin"
    """Create and bulk load."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows ``verbs`` on datasets that match a pattern to identities that match a pattern (``*`` and ``?`` as in a shell)."""

    identities: tuple[str, ...]
    verbs: frozenset[Verb]
    datasets: tuple[str, ...]

    def allows(self, identity: str, verb: Verb, dataset: str) -> bool:
        return (
            verb in self.verbs
            and any(_matches(identity, pattern) for pattern in self.identities)
            and any(_matches(dataset, pattern) for pattern in self.datasets)
        )


def _matches(name: str, pattern: str) -> bool:
    """``*`` and ``?`` only: a shell's brackets stand for themselves here, since identities may have them."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules add up; what none of them allows is denied."""

    rules: Sequence[Rule]

    def allows(self, identity: str, verb: Verb, dataset: str) -> bool:
        return any(rule.allows(identity, verb, dataset) for rule in self.rules)


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """An authenticated identity under one version of the policy. Decisions are remembered, so a check is one lookup."""

    identity: str
    policy: Policy
    _decisions: dict[tuple[Verb, str], bool] = field(default_factory=dict, repr=False)

    DECISIONS_MAX = 10_000
    DATASET_CHARACTERS_MAX = 200
    """No dataset has a longer name, and a request may hold one of megabytes."""

    def may(self, verb: Verb, dataset: str) -> bool:
        allowed = self._decisions.get((verb, dataset))
        if allowed is None:
            allowed = self.policy.allows(self.identity, verb, dataset)
            if len(self._decisions) < self.DECISIONS_MAX and len(dataset) <= self.DATASET_CHARACTERS_MAX:
                self._decisions[verb, dataset] = allowed
        return allowed
