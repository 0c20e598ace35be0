"""A throw-away CA with one server's and one client's certificate: for tests, the demo, and a first try of TLS.

The files carry the names that QEMU and libnbd look for, so one directory serves ``qemu-nbd --object
tls-creds-x509,dir=...``, ``nbdinfo 'nbds://...?tls-certificates=...'`` and nightwell alike. The CA's key is not kept:
to add a certificate, make a new set. For sites that stay, use the certificates of your own CA.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nightwell.nbd.tls import TlsFiles

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CertificateSet:
    """The files of both sides, signed by one CA."""

    server: TlsFiles
    client: TlsFiles


def make_certificates(
    directory: Path, *, hosts: tuple[str, ...] = LOOPBACK, lifetime: timedelta = timedelta(days=30)
) -> CertificateSet:
    """Make a CA and a certificate for each side, replacing what stands in the directory.

    Parameters
    ----------
    directory
        Where the five PEM files go; made when missing. Keys are readable by their owner only.
    hosts
        Names and IP addresses under which clients reach the server.
    lifetime
        How long the certificates are valid from now on.

    Returns
    -------
    CertificateSet
        The files for :class:`~nightwell.nbd.server.NbdServer` and :class:`~nightwell.nbd.client.NbdClient`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    authority = _Authority(lifetime)
    ca = directory / "ca-cert.pem"
    ca.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    return CertificateSet(
        server=authority.issue(directory, ca, "server", ExtendedKeyUsageOID.SERVER_AUTH, hosts),
        client=authority.issue(directory, ca, "client", ExtendedKeyUsageOID.CLIENT_AUTH, ()),
    )


class _Authority:
    """A CA that lives as long as this object."""

    def __init__(self, lifetime: timedelta) -> None:
        self._start = datetime.now(UTC) - _CLOCK_SKEW
        self._end = datetime.now(UTC) + lifetime
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name("nightwell throw-away CA")
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self, directory: Path, ca: Path, side: str, purpose: x509.ObjectIdentifier, hosts: tuple[str, ...]
    ) -> TlsFiles:
        """Make one side's key and certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_common_name(f"nightwell {side}"), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        files = TlsFiles(ca, directory / f"{side}-cert.pem", directory / f"{side}-key.pem")
        certificate = builder.sign(self._key, hashes.SHA256())
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(
            files.key,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._start)
            .not_valid_after(self._end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)
