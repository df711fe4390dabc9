"""CORS: which other sites' pages may read what DICOMweb answers (the Fetch standard, section 3.3).

Who may send a request at all is decided before, in reception.py; here browsers are told what a page may do with the
answer. A preflight shows no credentials and is answered before anybody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from isocenter.web.reception import Origins

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
_ASKED_WITH = ("Authorization", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Range")
# Beside the few that every page may read (Cache-Control, Content-Length, Content-Type, Expires, Last-Modified, ...)
_READ = (
    *("Accept-Ranges", "Content-Disposition", "Content-Location", "Content-Range", "ETag", "Location", "Retry-After"),
    *("Warning", "WWW-Authenticate", "X-Total-Count"),
)
_REMEMBERED = 600  # seconds that a browser keeps the answer to a preflight


def cors(origins: Origins) -> Iterator[Middleware]:
    """The layer that answers preflights and names the origins; none without `web.cors_origins`."""
    if origins.listed:
        yield Middleware(
            CORSMiddleware,
            allow_origins=origins.listed,
            allow_methods=_METHODS,
            allow_headers=_ASKED_WITH,
            allow_credentials=origins.credentials,
            expose_headers=_READ,
            max_age=_REMEMBERED,
        )
