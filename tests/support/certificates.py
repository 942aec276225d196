"""Real certificates for tests, made with the openssl program: an authority, and what it issues."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.programs import program

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
PASSPHRASE = "correct-horse"


def run(*words: object) -> str:
    command = [program("openssl"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_key(path: Path, *, is_encrypted: bool = False) -> Path:
    protection = ["-aes256", "-pass", f"pass:{PASSPHRASE}"] if is_encrypted else []
    run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", *protection, "-out", path)
    return path


class Authority:
    """Certificates that a client trusts which is given ``certificate``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self._issued = 0
        self.key, self.certificate = new_key(folder / f"{name}.key"), folder / f"{name}.pem"
        # Python 3.13 and later check certificates strictly: a CA has a key usage, what it issues names its key.
        subject = ["-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"]
        subject += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        run("req", "-x509", "-new", "-key", self.key, "-days", 3650, *subject, "-out", self.certificate)

    def issue(
        self, name: str, key: Path | None = None, *, days: int = 90, is_encrypted: bool = False
    ) -> tuple[Path, Path]:
        """Returns certificate and key. ``days``: from now until it ends; negative for one that has ended."""
        self._issued += 1
        key = key or new_key(self._folder / f"{name}.key", is_encrypted=is_encrypted)
        request, certificate = self._folder / f"{name}.csr", self._folder / f"{name}.pem"
        passphrase = ["-passin", f"pass:{PASSPHRASE}"]
        run("req", "-new", "-key", key, *passphrase, "-subj", f"/CN={name}", "-addext", NAMES, "-out", request)
        now = datetime.now(UTC)
        dates = [f"{day:%Y%m%d%H%M%SZ}" for day in (now - timedelta(days=400), now + timedelta(days=days))]
        database, settings = self._folder / f"{name}.db", self._folder / f"{name}.cnf"
        database.write_text("")
        settings.write_text(
            "[ca]\ndefault_ca=one\n[one]\ndefault_md=sha256\npolicy=any\ncopy_extensions=copy\nx509_extensions=extensions\nemail_in_dn=no\n"
            f"database={database}\nrand_serial=yes\nnew_certs_dir={self._folder}\n[any]\ncommonName=supplied\n"
            "[extensions]\nauthorityKeyIdentifier=keyid\n"
        )
        signed = ["-cert", self.certificate, "-keyfile", self.key, "-in", request, "-out", certificate]
        extra = ["-startdate", dates[0], "-enddate", dates[1], "-notext", "-batch"]
        run("ca", "-config", settings, *signed, *extra)
        return certificate, key
