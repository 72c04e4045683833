"""Who may do what: identity, verb and the name of a dataset, join or group by; default deny (spec/reliability.md R22, R24)."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


class Verb(enum.Enum):
    """What a caller wants to do: fetch features of a join or group by, everything else with a dataset."""

    READ = "read"
    WRITE = "write"
    """Put and delete."""
    ADMIN = "admin"
    """Create and bulk load."""
    FETCH = "fetch"
    """Features of a join or group by, their schemas and where they come from. It needs no other verb on the datasets below, and of a
    join FETCH on each of its group bys."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows ``verbs`` to identities that match a pattern (``*`` and ``?`` as in a shell).

    FETCH on joins and group bys that match one of ``features``, the other verbs on datasets that match one of ``datasets``.
    """

    identities: tuple[str, ...]
    verbs: frozenset[Verb]
    datasets: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def allows(self, identity: str, verb: Verb, name: str) -> bool:
        return (
            verb in self.verbs
            and any(_matches(identity, pattern) for pattern in self.identities)
            and any(_matches(name, pattern) for pattern in (self.features if verb is Verb.FETCH else self.datasets))
        )


def _matches(name: str, pattern: str) -> bool:
    """``*`` and ``?`` only: a shell's brackets stand for themselves here, since identities may have them."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules add up; what none of them allows is denied."""

    rules: Sequence[Rule]

    def allows(self, identity: str, verb: Verb, name: str) -> bool:
        return any(rule.allows(identity, verb, name) for rule in self.rules)


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """An authenticated identity under one version of the policy. Decisions are remembered, so a check is one lookup."""

    identity: str
    policy: Policy
    _decisions: dict[tuple[Verb, str], bool] = field(default_factory=dict, repr=False)

    DECISIONS_MAX = 10_000
    NAME_CHARACTERS_MAX = 200
    """No dataset has a longer name, few joins do, and a request may hold one of megabytes."""

    def may(self, verb: Verb, name: str) -> bool:
        allowed = self._decisions.get((verb, name))
        if allowed is None:
            allowed = self.policy.allows(self.identity, verb, name)
            if len(self._decisions) < self.DECISIONS_MAX and len(name) <= self.NAME_CHARACTERS_MAX:
                self._decisions[verb, name] = allowed
        return allowed
