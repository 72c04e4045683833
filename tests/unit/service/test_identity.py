"""Identity: tokens by hash and JWTs by key; what does not hold names nobody, for whatever reason."""

import base64
import hashlib
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.model.errors import InvalidRequest, Unauthenticated
from chronoserve.service.identity import REFUSED, JWTVerifier, StaticTokens, TokenVerifier, identify

SECRET = "a shared secret of more than thirty-two bytes"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def private_pem(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


def public_pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def claims(**changes: Any) -> dict[str, Any]:
    base = {"sub": "alice", "exp": int(time.time()) + 600, "aud": "chronoserve", "iss": "https://issuer"}
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def verifier(key: str | None = None, algorithms: tuple[str, ...] = ("RS256",), audience: str | None = "chronoserve") -> JWTVerifier:
    return JWTVerifier(key=key or public_pem(RSA), algorithms=algorithms, audience=audience, issuer="https://issuer")


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_a_static_token_is_known_by_its_hash_and_nothing_else_is(token: str, other: str) -> None:
    tokens = StaticTokens({sha256(token): "alice", sha256(token + "!"): "bob"})
    assert tokens.identity(token) == "alice"
    assert tokens.identity(token + "!") == "bob"
    if other not in (token, token + "!"):
        assert tokens.identity(other) is None
    assert tokens.identity(sha256(token)) is None


def test_a_good_jwt_names_its_subject() -> None:
    assert verifier().identity(jwt.encode(claims(), private_pem(RSA), "RS256")) == "alice"
    assert verifier(SECRET, ("HS256",)).identity(jwt.encode(claims(), SECRET, "HS256")) == "alice"
    assert verifier(public_pem(EC), ("ES256",)).identity(jwt.encode(claims(), private_pem(EC), "ES256")) == "alice"
    assert verifier(audience=None).identity(jwt.encode(claims(aud=None), private_pem(RSA), "RS256")) == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"exp": float("inf")},
        {"sub": None},
        {"sub": 7},
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://evil"},
        {"iss": None},
        {"nbf": 4_102_444_800},
    ],
    ids=str,
)
def test_a_jwt_whose_claims_do_not_hold_names_nobody(changes: dict[str, Any]) -> None:
    payload = claims(**changes)
    signing_input = jwt.encode({"sub": "x"}, private_pem(RSA), "RS256").split(".", maxsplit=1)[0]
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    algorithm = jwt.get_algorithm_by_name("RS256")
    signature = algorithm.sign(f"{signing_input}.{body}".encode(), algorithm.prepare_key(private_pem(RSA)))
    token = f"{signing_input}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert verifier().identity(token) is None


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "RS256", None, 7, ["RS256"]])
def test_a_jwt_that_is_not_signed_names_nobody(algorithm: Any) -> None:
    for signature in (b"", b"x"):
        for algorithms, key in ((("RS256",), public_pem(RSA)), (("HS256",), SECRET)):
            token = unsigned({"alg": algorithm, "typ": "JWT"}, claims(), signature)
            assert verifier(key, algorithms).identity(token) is None


def test_a_public_key_is_never_taken_for_a_shared_secret() -> None:
    """The classic confusion: signed with HS256 and the public key's text as the secret."""
    import hmac

    head_and_body = unsigned({"alg": "HS256", "typ": "JWT"}, claims()).rsplit(".", 1)[0]
    signature = hmac.digest(public_pem(RSA).encode(), head_and_body.encode(), "sha256")
    token = f"{head_and_body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert verifier().identity(token) is None
    assert verifier(public_pem(RSA), ("HS256",)).identity(token) is None


@pytest.mark.parametrize("algorithms", [(), ("none",), ("None", "RS256"), ("RS256", "HS256"), ("HS512", "ES256")], ids=str)
def test_an_allow_list_without_signatures_or_of_two_families_stops_the_start(algorithms: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match=r"jwt\.algorithms"):
        verifier(algorithms=algorithms)


def test_another_key_or_another_algorithm_names_nobody() -> None:
    assert verifier().identity(jwt.encode(claims(), private_pem(OTHER_RSA), "RS256")) is None
    assert verifier().identity(jwt.encode(claims(), private_pem(RSA), "RS512")) is None
    assert verifier(algorithms=("RS256", "ES256")).identity(jwt.encode(claims(), private_pem(EC), "ES256")) is None
    assert verifier(key="no key at all").identity(jwt.encode(claims(), private_pem(RSA), "RS256")) is None


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_no_text_is_worse_than_unknown(text: str) -> None:
    good = jwt.encode(claims(), SECRET, "HS256")
    head, body, signature = good.split(".")
    checker = verifier(SECRET, ("HS256",))
    for token in (text, f"{text}.{body}.{signature}", f"{head}.{text}.{signature}", f"{head}.{body}.{text}", good + text):
        assert checker.identity(token) in (None, "alice") if token == good else checker.identity(token) is None


def test_every_refusal_has_the_same_text() -> None:
    verifiers: list[TokenVerifier] = [StaticTokens({sha256("t"): "alice"}), verifier()]
    for token in ("", "wrong", jwt.encode(claims(exp=1), private_pem(RSA), "RS256"), unsigned({"alg": "none"}, claims())):
        with pytest.raises(Unauthenticated) as caught:
            identify(token, verifiers)
        assert caught.value.message == REFUSED
    assert identify("t", verifiers) == "alice"
