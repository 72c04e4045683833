"""The caller of a call: a bearer token in the metadata, or the name in a client certificate that mTLS has verified."""

from collections.abc import Sequence
from typing import Any

from chronoserve.model.errors import Unauthenticated
from chronoserve.service.access import Caller, Policy
from chronoserve.service.identity import REFUSED, TokenVerifier, identify

AUTHORIZATION = "authorization"
BEARER = "bearer "
CALLERS_MAX = 10_000
"""Identities whose decisions are remembered; past it the memory starts afresh."""


class Authenticator:
    """Names callers, each under the policy as it is now."""

    def __init__(self, verifiers: Sequence[TokenVerifier], policy: Policy, *, certificates: bool) -> None:
        """``certificates``: the name in a verified client certificate is an identity as good as a token."""
        self._verifiers = verifiers
        self._policy = policy
        self._certificates = certificates
        self._callers: dict[str, Caller] = {}

    def adopt(self, policy: Policy) -> None:
        """From the next call on, ``policy`` decides for everybody."""
        self._policy = policy
        self._callers.clear()

    async def __call__(self, context: Any) -> Caller:
        """The caller. Raises Unauthenticated where the call names none."""
        identity = self._identity(context)
        caller = self._callers.get(identity)
        if caller is None:
            if len(self._callers) >= CALLERS_MAX:
                self._callers.clear()
            caller = self._callers[identity] = Caller(identity, self._policy)
        return caller

    def _identity(self, context: Any) -> str:
        for name, value in context.invocation_metadata() or ():
            if name == AUTHORIZATION and isinstance(value, str) and value[: len(BEARER)].lower() == BEARER:
                return identify(value[len(BEARER) :].strip(), self._verifiers)
        if self._certificates and (names := context.peer_identities()):
            return str(names[0].decode())
        raise Unauthenticated(REFUSED)
