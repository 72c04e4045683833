"""Access: patterns by a naive matcher, default deny, and a memory of decisions that a caller cannot fill with its names."""

from hypothesis import given
from hypothesis import strategies as st

from chronoserve.service.access import Caller, Policy, Rule, Verb

WORDS = st.text("abA_.*?", max_size=6)
NAMES = st.text("abA_.", max_size=6)
RULES = st.lists(
    st.builds(
        Rule,
        st.lists(WORDS, max_size=2).map(tuple),
        st.sets(st.sampled_from(Verb)).map(frozenset),
        st.lists(WORDS, max_size=2).map(tuple),
        st.lists(WORDS, max_size=2).map(tuple),
    ),
    max_size=4,
)


def matches(name: str, pattern: str) -> bool:
    """The plainest way to say what ``*`` and ``?`` mean."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(matches(name[at:], pattern[1:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and matches(name[1:], pattern[1:])


def allowed(rules: list[Rule], identity: str, verb: Verb, name: str) -> bool:
    return any(
        verb in rule.verbs
        and any(matches(identity, pattern) for pattern in rule.identities)
        and any(matches(name, pattern) for pattern in (rule.features if verb is Verb.FETCH else rule.datasets))
        for rule in rules
    )


@given(RULES, NAMES, st.lists(st.tuples(st.sampled_from(Verb), NAMES), max_size=10))
def test_a_policy_allows_what_some_rule_allows_and_nothing_else(rules: list[Rule], identity: str, asked: list[tuple[Verb, str]]) -> None:
    caller = Caller(identity, Policy(rules))
    for verb, dataset in [*asked, *asked]:
        assert caller.may(verb, dataset) == allowed(rules, identity, verb, dataset)


def test_without_rules_everything_is_denied() -> None:
    assert not any(Caller("root", Policy([])).may(verb, "A") for verb in Verb)


def test_one_verb_does_not_imply_another() -> None:
    for verb in Verb:
        caller = Caller("me", Policy([Rule(("me",), frozenset({verb}), ("*",), ("*",))]))
        assert [other for other in Verb if caller.may(other, "A")] == [verb]


def test_features_are_not_datasets() -> None:
    """Who may fetch a join has no access to its datasets, and a pattern of datasets opens no join."""
    caller = Caller("me", Policy([Rule(("me",), frozenset(Verb), ("A*",), ("team/*",))]))
    assert caller.may(Verb.FETCH, "team/join.v1")
    assert not caller.may(Verb.FETCH, "A")
    assert not caller.may(Verb.READ, "team/join.v1")


def test_brackets_are_no_pattern() -> None:
    """Only * and ? are; an identity that holds brackets is named as it is."""
    caller = Caller("svc1", Policy([Rule(("svc[1]",), frozenset(Verb), ("*",))]))
    assert not caller.may(Verb.READ, "A")
    assert Caller("svc[1]", caller.policy).may(Verb.READ, "A")


def test_upper_and_lower_case_are_different() -> None:
    caller = Caller("Me", Policy([Rule(("me",), frozenset(Verb), ("*",)), Rule(("Me",), frozenset(Verb), ("a",))]))
    assert caller.may(Verb.READ, "a")
    assert not caller.may(Verb.READ, "A")


def test_the_memory_of_decisions_is_bounded_in_number_and_in_size() -> None:
    caller = Caller("me", Policy([Rule(("me",), frozenset(Verb), ("A*",))]))
    for n in range(Caller.DECISIONS_MAX + 100):
        assert caller.may(Verb.READ, f"A{n}")
    assert not caller.may(Verb.READ, "B")
    assert len(caller._decisions) == Caller.DECISIONS_MAX
    fresh = Caller("me", caller.policy)
    assert fresh.may(Verb.READ, "A" * 1_000_000)
    assert not fresh._decisions
