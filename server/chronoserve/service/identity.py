"""From a bearer token to an identity: static tokens by hash, JWTs by key and allow-listed algorithm."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chronoserve.model.errors import FailedPrecondition, InvalidRequest, Unauthenticated

REFUSED = "the bearer token is missing, unknown or expired"
"""One text for every reason: an attacker learns nothing from it."""


class TokenVerifier(Protocol):
    """Names the identity of a token."""

    def identity(self, token: str) -> str | None:
        """None: not one of this verifier's tokens."""


@dataclass(frozen=True, slots=True)
class StaticTokens:
    """Identities by the SHA-256 (lower-case hex) of their tokens: the configuration holds no usable secret."""

    identities: Mapping[str, str]

    def identity(self, token: str) -> str | None:
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = None
        for known, identity in self.identities.items():
            if hmac.compare_digest(known, digest):
                found = identity
        return found


class JWTVerifier:
    """JSON Web Tokens signed with one key; ``sub`` is the identity, ``exp`` is required."""

    def __init__(self, *, key: str, algorithms: Sequence[str], audience: str | None, issuer: str | None) -> None:
        """``algorithms`` is the allow-list: of one family, because a public key must never be taken for a shared secret.

        Raises:
            FailedPrecondition: PyJWT is missing.
            InvalidRequest: no algorithm that signs, or signatures and shared secrets mixed.
        """
        try:
            import jwt  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as missing:
            raise FailedPrecondition("JWTs need PyJWT: pip install 'chronoserve[auth]'") from missing
        self._jwt: Any = jwt
        self._key = key
        self._algorithms = list(algorithms)
        _expect_one_family(self._algorithms)
        self._audience = audience
        self._issuer = issuer

    def identity(self, token: str) -> str | None:
        try:
            claims = self._jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "sub"]},
            )
        except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError):  # the latter three: numbers and keys that are none
            return None
        return str(claims["sub"])


def _expect_one_family(algorithms: Sequence[str]) -> None:
    shared = [algorithm.startswith("HS") for algorithm in algorithms]
    if not algorithms or any(algorithm.lower() == "none" for algorithm in algorithms) or any(shared) != all(shared):
        raise InvalidRequest("jwt.algorithms lists algorithms that sign, all of them with a public key or all with a shared secret (HS…)")


def identify(token: str, verifiers: Sequence[TokenVerifier]) -> str:
    """The identity of the first verifier that knows the token.

    Raises:
        Unauthenticated: none does.
    """
    for verifier in verifiers:
        identity = verifier.identity(token)
        if identity is not None:
            return identity
    raise Unauthenticated(REFUSED)
