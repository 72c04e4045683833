"""TLS and mTLS whose certificates are replaced while the server runs: each handshake uses the files as they are."""

from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from chronoserve.model.errors import InvalidRequest

log = structlog.get_logger("chronoserve.tls")


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """PEM files. ``client_ca`` set: clients must show a certificate that it signed (mTLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """Raises InvalidRequest where a file cannot be read."""
        try:
            return self.key.read_bytes(), self.certificate.read_bytes(), self.client_ca.read_bytes() if self.client_ca else None
        except OSError as unreadable:
            raise InvalidRequest(f"a TLS file cannot be read: {unreadable.strerror}: {Path(str(unreadable.filename)).name}") from unreadable


class CertificateWatch:
    """Answers the transport's question at each handshake: a new configuration where the files have changed, else None."""

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._current = files.read()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            found = self._files.read()
        except InvalidRequest as unreadable:
            log.warning("keeping the old certificate", reason=unreadable.message)
            return None
        if found == self._current:
            return None
        self._current = found
        log.info("certificate reloaded")
        return _configuration(found)

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._current),
            self,  # type: ignore[arg-type] # the stubs do not know that None means "unchanged"
            require_client_authentication=self._files.client_ca is not None,
        )


def _configuration(pem: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
    key, certificate, client_ca = pem
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)
