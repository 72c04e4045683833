"""Who calls: bearer tokens and certificates, under the policy as it is now."""

import hashlib
from typing import Any

import pytest

from chronoserve.model.errors import Unauthenticated
from chronoserve.service.access import Policy, Rule, Verb
from chronoserve.service.identity import REFUSED, StaticTokens
from chronoserve.wire.auth import CALLERS_MAX, Authenticator
from tests.unit.wire.context import Context

ALICE = StaticTokens({hashlib.sha256(b"alice's").hexdigest(): "alice"})
ALL = Policy([Rule(("*",), frozenset(Verb), ("*",))])


def authenticator(*, certificates: bool = False, policy: Policy = ALL) -> Authenticator:
    return Authenticator([ALICE], policy, certificates=certificates)


@pytest.mark.parametrize("value", ["Bearer alice's", "bearer alice's", "BEARER   alice's  "])
async def test_a_bearer_token_names_the_caller(value: str) -> None:
    caller = await authenticator()(Context(metadata=(("x", "y"), ("authorization", value))))
    assert caller.identity == "alice"


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer "),),
        (("authorization", "Bearer wrong"),),
        (("authorization", "Basic alice's"),),
        (("authorization", "alice's"),),
        (("authorization", b"Bearer alice's"),),
        (("authorization-bin", b"Bearer alice's"),),
        (("x-authorization", "Bearer alice's"),),
        (("authorization", "Bearer wrong"), ("authorization", "Bearer alice's")),
    ],
    ids=str,
)
async def test_without_a_good_token_there_is_no_caller(metadata: tuple[tuple[str, Any], ...]) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await authenticator()(Context(metadata=metadata))
    assert caught.value.message == REFUSED


async def test_a_certificate_s_name_counts_only_where_certificates_do() -> None:
    context = Context(names=(b"bob.example", b"other"))
    assert (await authenticator(certificates=True)(context)).identity == "bob.example"
    with pytest.raises(Unauthenticated):
        await authenticator()(context)
    with pytest.raises(Unauthenticated):
        await authenticator(certificates=True)(Context())


async def test_a_wrong_token_is_not_mended_by_a_certificate() -> None:
    with pytest.raises(Unauthenticated):
        await authenticator(certificates=True)(Context(metadata=(("authorization", "Bearer wrong"),), names=(b"bob",)))


async def test_an_adopted_policy_decides_from_the_next_call_on() -> None:
    of = authenticator(policy=Policy([]))
    context = Context(metadata=(("authorization", "Bearer alice's"),))
    before = await of(context)
    assert await of(context) is before, "decisions are remembered"
    assert not before.may(Verb.READ, "D")
    of.adopt(ALL)
    assert (await of(context)).may(Verb.READ, "D")
    of.adopt(Policy([]))
    assert not (await of(context)).may(Verb.READ, "D")


async def test_the_memory_of_callers_is_bounded() -> None:
    of = authenticator(certificates=True)
    for n in range(CALLERS_MAX + 10):
        assert (await of(Context(names=(b"%d" % n,)))).identity == str(n)
    assert len(of._callers) <= CALLERS_MAX
