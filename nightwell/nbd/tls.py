"""TLS for NBD: both sides present a certificate, and each verifies the other's against one CA."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from nightwell.errors import CredentialsError, InputError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The three PEM files of one side.

    Parameters
    ----------
    ca
        Certificate of the CA that signed the other side's certificate.
    certificate, key
        This side's own certificate (with its chain) and private key.
    """

    ca: Path
    certificate: Path
    key: Path


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a server that accepts only clients with a certificate of the CA.

    Raises
    ------
    InputError
        A file is missing, or is not what it should be.
    CredentialsError
        This side's certificate has expired.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _load(context, files)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a client that verifies the server's certificate and host name.

    Raises
    ------
    InputError
        A file is missing, or is not what it should be.
    CredentialsError
        This side's certificate has expired.
    """
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


def _load(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the NBD specification asks for at least this
    for path in (files.ca, files.certificate, files.key):
        if not path.is_file():
            raise _unusable(path, "no such file")
    try:
        context.load_verify_locations(cafile=files.ca)
    except ssl.SSLError as error:
        raise _unusable(files.ca, str(error)) from error
    try:
        context.load_cert_chain(files.certificate, files.key)
    except ssl.SSLError as error:
        raise _unusable(files.certificate, str(error)) from error
    _refuse_expired(files.certificate)
    return context


def _refuse_expired(path: Path) -> None:
    """Say that our own certificate has expired; the other side would only say that it does not trust us."""
    until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    if datetime.now(UTC) > until:
        raise CredentialsError(
            f"TLS certificate {str(path)!r}",
            expected="a certificate that is valid now",
            found=f"one that expired on {until:%F %T} UTC",
            cause="it was not renewed in time, or this host's clock is wrong",
            next_step="put a new certificate and its key there, then start the array or the run again",
        )


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        f"TLS file {str(path)!r}",
        expected="a PEM file with the CA, the certificate, or the key that belongs to the certificate",
        found=found,
        cause="a wrong path in the settings, or a key of another certificate",
        next_step="check the three TLS paths; `nightwell.nbd.certificates` makes a throw-away set to try with",
    )
