"""Certificates for tests, good and bad, made by the `openssl` command in a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import peers

HERE = "subjectAltName=IP:127.0.0.1,DNS:localhost"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as files in PEM form."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}

    @property
    def s_client(self) -> list[str]:
        """The options of `openssl s_client` and `s_server`."""
        return ["-cert", str(self.certificate), "-key", str(self.key)]

    @property
    def dcmtk(self) -> list[str]:
        """The option +tls of DCMTK's tools."""
        return ["+tls", str(self.key), str(self.certificate)]


class Certificates:
    """An authority, certificates signed by it, and such as nobody should accept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = self._self_signed("authority", "-addext", "basicConstraints=critical,CA:TRUE")
        self._stranger = self._self_signed("stranger", "-addext", "basicConstraints=critical,CA:TRUE")
        self.server = self._signed("server")
        self.client = self._signed("client", extension="subjectAltName=DNS:modality.example")
        self.rsa = self._signed("rsa", algorithm="rsa:2048")
        self.weak = self._signed("weak", algorithm="rsa:1024")
        self.expired = self._signed("expired", days=-1)
        self.elsewhere = self._signed("elsewhere", extension="subjectAltName=DNS:pacs.example,IP:10.9.8.7")
        self.foreign = self._signed("foreign", by=self._stranger)
        self.lonely = self._self_signed("lonely", "-addext", HERE)

    @property
    def ca(self) -> str:
        return str(self.authority.certificate)

    def _openssl(self, *arguments: str | Path) -> None:
        peers.run("openssl", *arguments)

    def _pair(self, name: str) -> Pair:
        return Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def _new(self, name: str, algorithm: str) -> list[str | Path]:
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "ec" else []
        return ["req", "-newkey", algorithm, *curve, "-nodes", "-keyout", self._pair(name).key, "-subj", f"/CN={name}"]

    def _self_signed(self, name: str, *options: str) -> Pair:
        pair = self._pair(name)
        self._openssl(*self._new(name, "ec"), "-x509", "-days", "30", "-out", pair.certificate, *options)
        return pair

    def _signed(
        self, name: str, *, algorithm: str = "ec", extension: str = HERE, days: int = 30, by: Pair | None = None
    ) -> Pair:
        pair, issuer = self._pair(name), by or self.authority
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(extension + "\n")
        self._openssl(*self._new(name, algorithm), "-out", request)
        signing = ("-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial", "-extfile", extensions)
        self._openssl("x509", "-req", "-in", request, *signing, "-days", str(days), "-out", pair.certificate)
        return pair
