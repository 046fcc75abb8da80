"""Run a PostgreSQL server that accepts TLS connections only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.isolation import DEADLINE_SECONDS
from tests.server import free_port

# Debian's packages put the server's programs into a folder for each version.
FOLDERS = [os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
INITDB = shutil.which("initdb", path=":".join(FOLDERS))
NAME = "localhost"
CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
ssl = on
ssl_cert_file = '{certificate}'
ssl_key_file = '{key}'
fsync = off
"""


@dataclass(frozen=True)
class TlsServer:
    """A server whose certificate is for `localhost`, and for no other name of this machine."""

    port: int
    certificate: Path
    foreign_certificate: Path

    def url(self, sslmode: str, host: str = NAME) -> str:
        return f"postgresql+asyncpg://postgres@{host}:{self.port}/postgres?sslmode={sslmode}"


@contextmanager
def serving_tls() -> Iterator[TlsServer]:
    with TemporaryDirectory(prefix="tls-postgres-") as name:
        folder = Path(name)
        key, certificate = write_certificate(folder, "server")
        _, foreign_certificate = write_certificate(folder, "foreign")
        # PostgreSQL refuses to run as root.
        user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
        for path in (folder, key, certificate):
            shutil.chown(path, user.get("user", os.geteuid()))
        programs, data, port = Path(INITDB or "").parent, folder / "data", free_port()

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), f"--pgdata={data}", *arguments]
            subprocess.run(
                command,
                cwd=folder,
                check=True,
                timeout=DEADLINE_SECONDS,
                stdout=subprocess.DEVNULL,
                **user,
            )

        run("initdb", "--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8")
        (data / "postgresql.auto.conf").write_text(
            CONFIGURATION.format(port=port, certificate=certificate, key=key)
        )
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        run("pg_ctl", "start", "--wait", f"--log={data / 'log'}")
        try:
            yield TlsServer(port, certificate, foreign_certificate)
        finally:
            run("pg_ctl", "stop", "--mode=immediate")


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a key and its self-signed certificate, and return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.crt"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file
