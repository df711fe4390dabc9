"""Whose requests are looked at: hosts that are ours, pages that may ask, sizes within limits; and CORS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

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


def test_how_much_one_may_ask_at_a_time() -> None:
    """Two requests of one address wait for the archive; a third has to come again, and others have their turn."""
    with web_with(web_max_requests=2) as web:

        async def scene() -> tuple[list[int], int, int]:
            going_on, waiting = asyncio.Event(), asyncio.Semaphore(0)

            async def find(query: Any) -> list[Any]:
                waiting.release()
                await going_on.wait()
                return []

            web.archive.find = find
            slow = [asyncio.create_task(web.client.get(STUDIES)) for _ in range(2)]
            for _ in slow:
                await waiting.acquire()
            refused = await web.client.get(STUDIES)
            transport = httpx.ASGITransport(web.app, client=("10.0.0.9", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://archive.test") as other:
                page = await other.get("/login")
            going_on.set()
            answered = [(await one).status_code for one in slow]
            again = await web.client.get(STUDIES)
            assert refused.headers["retry-after"] == "1"
            return [*answered, again.status_code], refused.status_code, page.status_code

        assert web.portal.call(scene) == ([200, 200, 200], 429, 200)


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
            # Whatever an answer says beside its body and those fields that every page may read
            assert {*("Warning", "X-Total-Count", "ETag", "Content-Location", "Content-Range", "Accept-Ranges")} <= {
                name.strip() for name in exposed.split(",")
            }
            assert response.headers["x-total-count"] == "0"
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


# Shapes that have run somewhere: tags, handlers, schemes, encodings, breaking out of attributes, scripts and comments.
SCRIPTS = [
    one.replace("⏎", "\n").replace("⇥", "\t")
    for one in r"""
<script>alert(1)</script>
<ScRiPt>alert(1)</sCrIpT>
<script src=//evil.example/x.js></script>
<script⏎>alert(1)</script>
<scr<script>ipt>alert(1)</scr</script>ipt>
<script/x>alert(1)</script>
<img src=x onerror=alert(1)>
<img src=x onerror=alert`1`>
<img/src/onerror=alert(1)>
<image src=x onerror=alert(1)>
<svg onload=alert(1)>
<svg/onload=alert(1)>
<svg><script>alert(1)</script></svg>
<svg><animate onbegin=alert(1)>
<svg><a xlink:href=javascript:alert(1)><text y=9>x
<svg><foreignObject><iframe onload=alert(1)>
<body onload=alert(1)>
<body onpageshow=alert(1)>
<iframe src=javascript:alert(1)>
<iframe srcdoc='<script>alert(1)</script>'>
<object data=javascript:alert(1)>
<embed src=javascript:alert(1)>
<link rel=import href=//evil.example>
<base href=//evil.example/>
<meta http-equiv=refresh content=0;url=javascript:alert(1)>
<details open ontoggle=alert(1)>
<video src=x onerror=alert(1)>
<video><source onerror=alert(1)>
<audio src=x onerror=alert(1)>
<input autofocus onfocus=alert(1)>
<select autofocus onfocus=alert(1)>
<textarea autofocus onfocus=alert(1)>
<marquee onstart=alert(1)>
<form action=javascript:alert(1)>
<button formaction=javascript:alert(1)>
<math href=javascript:alert(1)>x
<math><mtext></table><img src onerror=alert(1)>
<style>@import'//evil.example';</style>
<style onload=alert(1)>
<div style=background:url(javascript:alert(1))>
<a href=javascript:alert(1)>x</a>
<a href='java⇥script:alert(1)'>x</a>
<a href=data:text/html,<script>alert(1)</script>>x
javascript:alert(1)
data:text/html,<script>alert(1)</script>
vbscript:msgbox(1)
"><script>alert(1)</script>
'><script>alert(1)</script>
"onmouseover=alert(1) x="
'-alert(1)-'
";alert(1);//
</script><script>alert(1)</script>
</title><script>alert(1)</script>
</textarea><script>alert(1)</script>
--><script>alert(1)</script>
]]><script>alert(1)</script>
{{constructor.constructor('alert(1)')()}}
${alert(1)}
#{alert(1)}
<%= alert(1) %>
<script>alert(1)
+ADw-script+AD4-alert(1)+ADw-/script+AD4-
%3Cscript%3Ealert(1)%3C/script%3E
&lt;script&gt;alert(1)&lt;/script&gt;
<noscript><p title='</noscript><img src=x onerror=alert(1)>'>
<xss onpointerover=alert(1)>x
<x contenteditable onblur=alert(1)>
""".strip().splitlines()
]


def test_no_answer_is_a_page_made_of_what_was_asked(fake: Web) -> None:
    """Whatever is sent as path, parameter or header comes back as data at most, which no browser runs."""
    assert len(SCRIPTS) >= 60
    pages = [fake.get(path).content for path in ("/", "/view/x", "/login")]
    places = [
        *("/{}", "/view/{}", "/login?next={}", "/session?x={}", "/dicomweb/{}", f"{STUDIES}/{{}}"),
        *(f"{STUDIES}?{name}={{}}" for name in ("PatientName", "includefield", "limit", "accept")),
        f"{STUDIES}?{{}}=1",
    ]

    async def asked() -> list[tuple[str, httpx.Response]]:
        answers = []
        for script in SCRIPTS:
            for place in places:
                answers.append((place, await fake.client.get(place.format(quote(script, safe="")))))
            plain = script.encode("ascii", "ignore").decode().replace("\n", " ")
            fields = dict.fromkeys(("content-type", "user-agent", "if-none-match", "x-forwarded-host", "cookie"), plain)
            answers.append(("header", await fake.client.get(STUDIES, headers=fields)))
            answers.append(("header", await fake.client.get(STUDIES, headers={"accept": plain})))
        return answers

    for place, answer in fake.portal.call(asked):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "location" not in answer.headers
        assert "evil" not in str(answer.headers)
        kind = answer.headers["content-type"].partition(";")[0]
        if kind == "text/html":
            # The viewer's own pages, or that to sign in, in which nothing of the request stands.
            assert answer.content in pages
            assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
        else:
            assert kind in ("application/json", "application/dicom+json"), place
            assert "<script" not in answer.text.lower()
