"""Where an HTTP service is and how it is asked; apart from what asks it, because settings are read without a client."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chronoserve.model.errors import InvalidRequest

RESPONSE_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``headers`` may hold secrets, and so may ``url``: neither is in any error. ``ca_file``: PEM, in place of the system's."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str | None = None
    response_bytes_max: int = RESPONSE_BYTES_MAX

    def __post_init__(self) -> None:
        """Raises InvalidRequest where the URL is not one of http or https."""
        if not self.url.startswith(("http://", "https://")) or not self.url.partition("://")[2].strip("/"):
            raise InvalidRequest("a URL of an HTTP service begins with http:// or https:// and names a host", field="url")
