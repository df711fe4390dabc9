"""An issuer of tokens on loopback, as OpenID Connect Discovery has it, whose keys and moods the test decides."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "isocenter"


class Issuer:
    """`answers` by path may be replaced; `asked` counts what was fetched."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Any] = {}
        self.answers: dict[str, bytes | tuple[int, dict[str, str]]] = {}
        self.asked: list[str] = []
        self.rotate("k1")

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, and publish it alone."""
        self.keys = {kid: rsa.generate_private_key(65537, 2048)}
        self.kid = kid
        jwks = {"keys": [{**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}
                         for kid, key in self.keys.items()]}  # fmt: skip
        self.answers["/keys"] = json.dumps(jwks).encode()
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.answers["/.well-known/openid-configuration"] = json.dumps(document).encode()

    def token(self, scope: Any = "read", *, key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        content = {"iss": self.url, "aud": AUDIENCE, "sub": "anna", "exp": time.time() + 600, "scope": scope}
        headers = claims.pop("headers", {"kid": self.kid})
        return jwt.encode({**content, **claims}, key or self.keys[self.kid], algorithm, headers=headers)

    @property
    def rows(self) -> dict[str, Any]:
        """The settings that believe this issuer."""
        return {"web_jwt": True, "jwt_keys": "discover", "jwt_issuer": self.url, "jwt_audience": AUDIENCE}


@contextmanager
def issuing() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            answer = issuer.answers.get(self.path, (404, {}))
            status, fields = (200, {}) if isinstance(answer, bytes) else answer
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            if isinstance(answer, bytes):
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
