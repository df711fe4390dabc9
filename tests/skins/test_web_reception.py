"""Whose requests are looked at: hosts that are ours, pages that may ask, sizes within limits; and CORS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from isocenter.errors import SettingsError
from isocenter.settings import Settings
from isocenter.web.app import create_app
from skins.fake_archive import FakeArchive
from skins.web_harness import Web, portal, web_of

STUDIES = "/dicomweb/studies"
VIEWER = "https://viewer.example"


@contextmanager
def web_with(**rows: Any) -> Iterator[Web]:
    settings = Settings().replace(**{"web_hosts": "archive.test", **rows})
    archive = FakeArchive()
    with portal() as running, web_of(create_app(archive, settings), archive, running) as client:  # type: ignore[arg-type]
        yield client


@pytest.mark.parametrize(
    ("status", "host"),
    [
        (200, "archive.test"),
        (200, "ARCHIVE.test.:8042"),
        (200, "localhost"),
        (200, "localhost:8042"),
        (200, "127.0.0.1:8042"),
        (200, "127.8.9.10"),
        (200, "[::1]:8042"),
        (421, "evil.example"),
        (421, "archive.test.evil.example"),
        (421, "evil-archive.test"),
        (421, "localhost.evil.example"),
        (421, "10.0.0.7"),
        (421, "0x7f000001"),
        (421, "2130706433"),
        (421, "[2001:db8::1]"),
        (400, "archive.test/evil"),
        (400, "evil.example@archive.test"),
        (400, "archive.test:80:80"),
        (400, ""),
    ],
)
@pytest.mark.parametrize("path", [STUDIES, "/", "/healthz", "/js/main.js", "/nothing"])
def test_only_hosts_that_are_ours(fake: Web, host: str, path: str, status: int) -> None:
    response = fake.get(path, headers={"host": host})
    assert status == (response.status_code if response.status_code != 404 else 200)
    if status != 200:
        assert response.json()["error"]["status"] == status
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "evil" not in response.text


def test_a_second_host_field_is_a_trick(fake: Web) -> None:
    async def ask() -> httpx.Response:
        return await fake.client.get(STUDIES, headers=[("host", "archive.test"), ("host", "evil.example")])

    assert fake.portal.call(ask).status_code == 400


def test_the_address_the_connection_came_to_is_ours(fake: Web) -> None:
    async def ask(base: str, host: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(fake.app), base_url=base) as client:
            return (await client.get(STUDIES, headers={"host": host})).status_code

    assert fake.portal.call(ask, "http://10.0.0.7:8042", "10.0.0.7:8042") == 200
    assert fake.portal.call(ask, "http://10.0.0.7:8042", "10.0.0.8:8042") == 421


def test_a_star_takes_every_name() -> None:
    with web_with(web_hosts="*") as web:
        assert web.get(STUDIES, headers={"host": "any.example"}).status_code == 200


@pytest.mark.parametrize(
    "rows",
    [
        {"web_hosts": "a b"},
        {"web_hosts": "http://pacs"},
        {"web_cors_origins": "viewer.example"},
        {"web_cors_origins": "https://viewer.example/"},
        {"web_cors_origins": "null"},
        {"web_cors_origins": "*", "web_cors_credentials": True},
    ],
)
def test_settings_that_cannot_be(rows: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"web\."):
        create_app(FakeArchive(), Settings().replace(**rows))  # type: ignore[arg-type]


OWN = "http://archive.test"


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        ("served", {}),  # no browser
        ("served", {"origin": OWN}),
        ("served", {"origin": "https://archive.test"}),  # a proxy spoke TLS
        ("served", {"origin": OWN, "sec-fetch-site": "same-origin"}),
        ("served", {"sec-fetch-site": "none"}),  # typed by the user
        ("refused", {"origin": "http://evil.example"}),
        ("refused", {"origin": "null"}),
        ("refused", {"origin": "http://archive.test.evil.example"}),
        ("refused", {"origin": "http://archive.test:81"}),
        ("refused", {"origin": "http://archive.test", "sec-fetch-site": "cross-site"}),
        ("refused", {"origin": "", "sec-fetch-site": "cross-site"}),
        ("refused", {"sec-fetch-site": "cross-site"}),
        ("refused", {"sec-fetch-site": "same-site"}),  # another port of this host, say
        ("refused", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_are_not_served(fake: Web, expected: str, headers: dict[str, str], method: str) -> None:
    response = fake.request(method, STUDIES, headers=headers)
    assert expected == ("refused" if response.status_code == 403 else "served")
    assert "access-control-allow-origin" not in response.headers


def test_a_link_from_elsewhere_is_followed_but_a_form_is_not(fake: Web) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert fake.get("/", headers=headers).status_code == 200
    assert fake.request("POST", STUDIES, headers=headers).status_code == 403


def test_limits_of_a_request() -> None:
    with web_with(web_max_url=1000, web_max_headers=2000) as web:
        assert web.get(f"{STUDIES}?PatientID={'x' * 900}").status_code == 200
        assert web.get(f"{STUDIES}?PatientID={'x' * 1000}").status_code == 414
        assert web.get(f"/{'x' * 1000}").status_code == 414
        assert web.get(STUDIES, headers={"x-long": "x" * 2000}).status_code == 431


def preflight(web: Web, origin: str, path: str = STUDIES, method: str = "GET", fields: str = "authorization") -> Any:
    headers = {"origin": origin, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    asked = {"access-control-request-method": method, "access-control-request-headers": fields}
    return web.request("OPTIONS", path, headers=headers | asked)


def test_listed_origins_read_dicomweb_and_nothing_else() -> None:
    with web_with(web_cors_origins=f"{VIEWER}, http://localhost:3000") as web:
        for origin in (VIEWER, "http://localhost:3000"):
            asked = preflight(web, origin)
            assert asked.status_code == 200
            assert asked.headers["access-control-allow-origin"] == origin
            assert "authorization" in asked.headers["access-control-allow-headers"].lower()
            assert "DELETE" in asked.headers["access-control-allow-methods"]
            assert asked.headers["access-control-max-age"] == "600"
            response = web.get(STUDIES, headers={"origin": origin, "sec-fetch-site": "cross-site"})
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == origin
            assert "Origin" in response.headers["vary"]
            exposed = response.headers["access-control-expose-headers"]
            assert "Warning" in exposed
            assert "Content-Location" in exposed
            assert "access-control-allow-credentials" not in response.headers
            assert web.get("/healthz", headers={"origin": origin}).status_code == 403
            assert preflight(web, origin, "/healthz").status_code == 403
        for origin in ("https://evil.example", "https://viewer.example.evil", "http://viewer.example", "null"):
            assert preflight(web, origin).status_code == 403
            assert "access-control-allow-origin" not in web.get(STUDIES, headers={"origin": origin}).headers
        assert preflight(web, VIEWER, method="BREW").status_code == 400
        assert preflight(web, VIEWER, fields="x-evil").status_code == 400
        failure = web.get(f"{STUDIES}?limit=x", headers={"origin": VIEWER})
        assert (failure.status_code, failure.headers["access-control-allow-origin"]) == (400, VIEWER)


def test_without_a_list_nobody_else_reads(fake: Web) -> None:
    assert preflight(fake, VIEWER).status_code == 403


def test_credentials_and_any_origin_are_said_explicitly() -> None:
    with web_with(web_cors_origins=VIEWER, web_cors_credentials=True) as web:
        assert preflight(web, VIEWER).headers["access-control-allow-credentials"] == "true"
    with web_with(web_cors_origins="*") as web:
        response = web.get(STUDIES, headers={"origin": "https://any.example", "sec-fetch-site": "cross-site"})
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers


def test_who_came_by_tls_is_told_to_stay(fake: Web) -> None:
    assert "strict-transport-security" not in fake.get("/healthz").headers
    response = fake.get("https://archive.test/healthz")
    assert response.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/", "/healthz", STUDIES, "/nothing", "/js/main.js", "/dicomweb/nothing"])
def test_headers_of_every_answer(fake: Web, path: str) -> None:
    headers = fake.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        f"{STUDIES}/1.2%0d%0aSet-Cookie:%20a=b",
        f"{STUDIES}?limit=1%0d%0aX: y",
        f"{STUDIES}?foo%0d%0abar=1",
        f"{STUDIES}/1.2/series/..%2f..%2f/metadata",
        "/%0d%0aLocation:%20http://evil.example",
        "/js/..%2f..%2fapp.py",
        "/js/%2e%2e/%2e%2e/app.py",
        "/js/....//app.py",
        "/js/main.js%00.css",
    ],
)
def test_what_a_path_says_reaches_no_header_and_no_file(fake: Web, path: str) -> None:
    response = fake.get(path)
    assert "set-cookie" not in response.headers
    assert "location" not in response.headers
    assert "x" not in response.headers
    assert b"create_app" not in response.content
    for name, value in response.headers.raw:
        assert not {b"\r", b"\n", b"\0"} & {bytes([byte]) for byte in name + value}
