"""The gate: nothing is reached without credentials where there are any to show, and each scope opens its own."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from starlette.routing import Mount, Route, WebSocketRoute

from isocenter.archive.archive import Archive
from isocenter.errors import SettingsError
from isocenter.net.identity import set_user
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.web.assets import STATIC
from isocenter.web.gate import PUBLIC
from isocenter.web.site_tokens import issue, revoke
from skins.web_harness import Web, copies, portal, web_of

ALL = ("read", "write", "delete", "admin")
STUDIES = "/dicomweb/studies"


@dataclass
class Site:
    """A server with authentication: `tokens` by what they are for."""

    web: Web
    tokens: dict[str, str]
    files: Path

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[name]}"}

    def status(self, name: str | None, method: str = "GET", path: str = STUDIES, **options: Any) -> int:
        headers = options.pop("headers", {}) | (self.bearer(name) if name else {})
        return self.web.request(method, path, headers=headers, **options).status_code


@contextmanager
def site_at(folder: Path, **rows: Any) -> Iterator[Site]:
    tokens = {one: issue(folder / "tokens", one, [one])[1] for one in ALL}
    tokens["everything"] = issue(folder / "tokens", "everything", ALL)[1]
    set_user(folder / "users", "anna", "right")
    set_user(folder / "users", "root", "root's")
    set_user(folder / "users", "ct", None)
    settings = Settings().replace(
        **{
            "archive_data": folder / "data",
            "archive_minimum_free": 0,
            "web_hosts": "archive.test",
            "web_tokens": str(folder / "tokens"),
            "web_users": str(folder / "users"),
            "web_admins": "root",
            **rows,
        }
    )
    with portal() as running:
        archive = running.call(Archive.open, settings.archive_data, settings)
        with web_of(create_app(archive, settings), archive, running) as client:
            yield Site(client, tokens, folder)
        running.call(archive.close)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def patient_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all that is refused, which does not mind how often."""
    with site_at(tmp_path_factory.mktemp("site"), web_failures=1000) as found:
        yield found


def addresses(web: Web) -> Iterator[tuple[str, str]]:
    """Every method of every route with a path that fits it, and every file of the viewer."""
    for route in web.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, Route):
            path = re.sub(r"\{npi:npi\}", "color-palettes", route.path)
            path = re.sub(r"\{(study|series|instance|uid)\}", "1.2.3", path)
            path = re.sub(r"\{frames\}", "1", path)
            path = re.sub(r"\{path:path\}", "7FE00010", path)
            path = re.sub(r"\{[^}]*\}", "1", path)
            for method in sorted((route.methods or set()) | {"OPTIONS", "DELETE", "PATCH", "BREW"}):
                yield method, path
        elif not isinstance(route, WebSocketRoute):  # test_web_subscriptions.py
            assert isinstance(route, Mount)
            assert route.path == "", "what is mounted has to be walked here"
    for file in STATIC.rglob("*"):
        if file.is_file():
            yield "GET", f"/{file.relative_to(STATIC).as_posix()}"
    yield "GET", "/nothing"
    yield "GET", "/dicomweb/../metrics"


def test_no_route_is_reached_without_credentials(site: Site) -> None:
    walked = list(addresses(site.web))
    assert len(walked) > 150
    for method, path in walked:
        answer = site.web.request(method, path)
        if path in PUBLIC:
            assert answer.status_code in (200, 204, 400, 405, 415), (method, path)
        else:
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith('Bearer realm="isocenter"')
    reached = {path for _, path in walked}
    assert PUBLIC - reached == set(), "what is listed as open is there"


@pytest.mark.parametrize(
    "path", ["/login/", "//login", "/login/../metrics", "/LOGIN", "/login;x", "/login%00", "/session/x"]
)
def test_what_is_open_is_open_by_its_exact_path(patient_site: Site, path: str) -> None:
    assert patient_site.web.get(path).status_code in (401, 400)


def test_each_scope_opens_its_own(site: Site) -> None:
    (data,) = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1)
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    study = f"{STUDIES}/{header.StudyInstanceUID}"
    stored = [site.web.store(data, headers=site.bearer(name)).status_code for name in ALL]
    assert stored == [403, 200, 403, 403]
    assert [site.status(name, "GET", STUDIES) for name in ALL] == [200, 403, 403, 403]
    assert [site.status(name, "GET", "/metrics") for name in ALL] == [403, 403, 403, 200]
    assert [site.status(name, "GET", "/healthz") for name in (*ALL, None)] == [200] * 5
    assert [site.status(name, "GET", "/") for name in ALL] == [200, 403, 403, 403]
    deleted = [site.status(name, "DELETE", f"{study}?reason=test") for name in ("read", "write", "admin", "delete")]
    assert deleted == [403, 403, 403, 204]
    assert site.status("read", "GET", study) == 404
    refused = site.web.request("DELETE", study, headers=site.bearer("read"))
    assert refused.headers["www-authenticate"] == 'Bearer realm="isocenter", error="insufficient_scope", scope="delete"'


@pytest.mark.parametrize(
    "field",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer isocenter_",
        "Bearer isocenter__",
        "Bearer isocenter_00000000_x",
        "Bearer {id}",
        "Bearer isocenter_{id}_",
        "Bearer isocenter_{id}_{secret}x",
        "Bearer isocenter_{id}_{swapped}",
        "Bearer Isocenter_{id}_{secret}",
        "Bearer a.b.c",
        "Token isocenter_{id}_{secret}",
        "isocenter_{id}_{secret}",
        "Basic !!!",
        "Basic {basic_wrong}",
        "Basic {basic_nobody}",
        "Basic {basic_believed}",
        "Digest username=anna",
        "Negotiate AAAA",
        "",
    ],
)
def test_credentials_that_are_none(patient_site: Site, field: str, caplog: pytest.LogCaptureFixture) -> None:
    _, identifier, secret = patient_site.tokens["everything"].split("_", 2)

    def basic(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    field = field.format(
        id=identifier,
        secret=secret,
        swapped=secret.swapcase(),
        basic_wrong=basic("anna:wrong"),
        basic_nobody=basic("nobody:right"),
        basic_believed=basic("ct:"),
    )
    answer = patient_site.web.get(STUDIES, headers={"authorization": field})
    assert answer.status_code == 401
    assert secret not in caplog.text
    assert "wrong" not in caplog.text.replace("are wrong", "")


def test_two_authorization_fields_are_a_trick(site: Site) -> None:
    fields = [("authorization", f"Bearer {site.tokens['read']}"), ("authorization", f"Bearer {site.tokens['admin']}")]

    async def ask() -> int:
        return (await site.web.client.get(STUDIES, headers=fields)).status_code

    assert site.web.portal.call(ask) == 401


def test_users_with_name_and_passcode(site: Site) -> None:
    def status(name: str, passcode: str, path: str) -> int:
        field = base64.b64encode(f"{name}:{passcode}".encode()).decode()
        return site.web.get(path, headers={"authorization": f"Basic {field}"}).status_code

    assert [status("anna", "right", path) for path in (STUDIES, STUDIES, "/metrics")] == [200, 200, 403]
    assert [status("root", "root's", path) for path in (STUDIES, "/metrics")] == [200, 200]
    assert status("anna", "wrong", STUDIES) == 401
    assert status("ct", "", STUDIES) == 401, "a name alone proves nothing"
    asked = site.web.get(STUDIES).headers.get_list("www-authenticate")
    assert asked == ['Bearer realm="isocenter"', 'Basic realm="isocenter", charset="UTF-8"']
    by_browser = site.web.get(STUDIES, headers={"sec-fetch-mode": "cors"}).headers.get_list("www-authenticate")
    assert by_browser == ['Bearer realm="isocenter"'], "no window of the browser's own"


def test_who_guesses_waits_and_nobody_else(site: Site) -> None:
    import httpx

    transport = httpx.ASGITransport(site.web.app, client=("10.0.0.9", 1))
    wrong = {"authorization": "Bearer isocenter_00000000_guess"}

    async def ask(headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="https://archive.test") as client:
            return await client.get(STUDIES, headers=headers)

    statuses = [site.web.portal.call(ask, wrong).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    late = site.web.portal.call(ask, site.bearer("read"))
    assert late.status_code == 429, "a right guess is not told from a wrong one"
    assert 1 <= int(late.headers["retry-after"]) <= 10
    assert site.status("read") == 200


def test_who_guesses_many_at_once_waits_as_well(site: Site) -> None:
    import asyncio

    import httpx

    async def ask(client: httpx.AsyncClient, passcode: str) -> int:
        return (await client.get(STUDIES, auth=httpx.BasicAuth("anna", passcode))).status_code

    async def all_at_once(passcodes: list[str], address: str) -> list[int]:
        transport = httpx.ASGITransport(site.web.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://archive.test") as client:
            return await asyncio.gather(*(ask(client, one) for one in passcodes))

    guesses = site.web.portal.call(all_at_once, [f"guess {number}" for number in range(40)], "10.0.0.9")
    assert (guesses.count(401), guesses.count(429)) == (10, 30)
    assert set(site.web.portal.call(all_at_once, ["right"] * 40, "10.0.0.10")) == {200}, "who is right does not"
    late = site.web.portal.call(all_at_once, ["right"], "10.0.0.9")
    assert late == [429]


def test_credentials_do_not_cross_a_network_in_the_clear(site: Site) -> None:
    import httpx

    async def ask(base: str) -> httpx.Response:
        transport = httpx.ASGITransport(site.web.app, client=("10.0.0.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.get(STUDIES, headers=site.bearer("read"))

    refused = site.web.portal.call(ask, "http://archive.test")
    assert refused.status_code == 401
    assert "https" in refused.json()["error"]["message"]
    assert site.web.portal.call(ask, "https://archive.test").status_code == 200


def test_tokens_that_are_over_or_revoked(site: Site) -> None:
    file = site.files / "tokens"
    token, text = issue(file, "late", ["read"], days=-1)
    kept, good = issue(file, "good", ["read"], days=1)
    gate = site.web.app.state.gate  # type: ignore[attr-defined]
    settings = Settings().replace(web_tokens=str(file))
    gate.reloading(settings)()
    site.tokens |= {"late": text, "good": good}
    assert (site.status("late"), site.status("good")) == (401, 200)
    revoke(file, kept.id)
    assert site.status("good") == 200, "the file is read when the server is told so"
    gate.reloading(settings)()
    assert site.status("good") == 401
    file.write_text("{}\n")
    with pytest.raises(SettingsError, match="line 1"):
        gate.reloading(settings)()
    assert site.status("read") == 200, "what cannot be used changes nothing"
    assert token.id


def test_how_much_one_may_ask(tmp_path: Path) -> None:
    with site_at(tmp_path, web_rate=0.5) as site:  # a bucket of one
        assert [site.status("read") for _ in range(3)] == [200, 429, 429]
        assert site.status("everything") == 200, "each has a bucket of his own"
        waiting = site.web.get(STUDIES, headers=site.bearer("read"))
        assert waiting.headers["retry-after"] == "2"
        assert waiting.json()["error"]["code"] == "too-many-requests"


def test_without_authentication_everybody_may_what_is_said(tmp_path: Path) -> None:
    rows = {"web_tokens": "", "web_users": ""}
    with site_at(tmp_path, **rows) as site:
        assert [site.status(None, "GET", path) for path in (STUDIES, "/metrics", "/", "/healthz")] == [200] * 4
        assert site.status(None, "DELETE", f"{STUDIES}/1.2.3?reason=x") == 403
        assert site.web.get("/session").json()["authentication"] is False
    with site_at(
        tmp_path / "other" if (tmp_path / "other").mkdir() is None else tmp_path, web_open_scopes="read", **rows
    ) as site:
        assert site.status(None, "GET", STUDIES) == 200
        assert site.status(None, "GET", "/metrics") == 403
        assert site.web.store(b"x").status_code == 403


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"web_tokens": "absent"}, "web.tokens"),
        ({"web_users": "absent"}, "web.users"),
        ({"web_jwt": True}, "jwt.keys"),
        ({"web_jwt": True, "jwt_keys": "discover"}, "jwt"),
        ({"web_jwt": True, "jwt_keys": "http://10.0.0.1/keys", "jwt_issuer": "x", "jwt_audience": "y"}, "https"),
        ({"web_open_scopes": "read,all"}, "scopes are"),
        ({"web_user_scopes": "everything"}, "scopes are"),
    ],
)
def test_settings_of_authentication_that_cannot_be(rows: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        create_app(None, Settings().replace(**rows))  # type: ignore[arg-type]


# --- sessions


def sign_in(site: Site, **given: str) -> Any:
    return site.web.request("POST", "/session", json=given, headers={"origin": "http://archive.test"})


def cookie_of(response: Any) -> str:
    return str(response.headers["set-cookie"]).partition(";")[0]


def test_a_session(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter.audit")
    assert site.web.get("/session").json() == {
        "authentication": True,
        "ways": ["token", "passcode"],
        "user": None,
        "scopes": [],
        "ohif": False,
        "restricted": False,
    }
    made = sign_in(site, user="anna", passcode="right")
    assert made.status_code == 204
    flags = made.headers["set-cookie"].partition(";")[2].lower()
    assert all(flag in flags for flag in ("httponly", "samesite=strict", "path=/"))
    assert "secure" not in flags
    own = {"cookie": cookie_of(made)}
    site.web.client.cookies.clear()
    assert site.web.get("/session", headers=own).json()["user"] == "anna"
    assert site.web.get(STUDIES, headers=own).status_code == 200
    assert site.web.get("/metrics", headers=own).status_code == 403
    assert "Cookie" in site.web.get(STUDIES, headers=own).headers["vary"]
    # Changes are made by our own pages only.
    (data,) = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1)
    assert site.web.store(data, headers=own).status_code == 403
    assert site.web.store(data, headers=own | {"origin": "https://evil.example"}).status_code == 403
    assert site.web.store(data, headers=own | {"origin": "http://archive.test"}).status_code == 200
    # Credentials that are shown count, and not the session beside them.
    wrong = {"authorization": "Bearer isocenter_00000000_x"}
    assert site.web.get(STUDIES, headers=own | wrong).status_code == 401
    out = site.web.request("DELETE", "/session", headers=own | {"origin": "http://archive.test"})
    assert (out.status_code, out.headers["clear-site-data"]) == (204, '"cache"')
    assert site.web.get(STUDIES, headers=own).status_code == 401
    text = caplog.text
    assert "User Authentication: Login user=anna from=127.0.0.1 with=passcode" in text
    assert "User Authentication: Logout user=anna" in text
    assert "right" not in text
    assert cookie_of(made).partition("=")[2] not in text


def test_over_tls_the_cookie_is_of_this_host_alone(site: Site) -> None:
    headers = {"origin": "https://archive.test"}
    made = site.web.request(
        "POST", "https://archive.test/session", json={"token": site.tokens["read"]}, headers=headers
    )
    assert cookie_of(made).startswith("__Host-isocenter=")
    assert "Secure" in made.headers["set-cookie"]


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (401, {"json": {"token": "x"}}),
        (401, {"json": {"user": "anna", "passcode": "wrong"}}),
        (401, {"json": {"user": "ct", "passcode": ""}}),
        (400, {"json": {}}),
        (400, {"json": []}),
        (400, {"json": {"token": 7}}),
        (400, {"json": {"user": "anna"}}),
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (413, {"content": b" " * 40_000, "headers": {"content-type": "application/json"}}),
        (415, {"content": b"token=x", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
        (415, {"content": b'{"token": "x"}', "headers": {"content-type": "text/plain"}}),
    ],
)
def test_what_makes_no_session(patient_site: Site, status: int, options: dict[str, Any]) -> None:
    answer = patient_site.web.request("POST", "/session", **options)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


def test_a_page_leads_to_where_to_sign_in_and_data_do_not(site: Site) -> None:
    page = {"accept": "text/html,application/xhtml+xml"}
    led = site.web.get("/view/1.2/3.4?frame=7", headers=page)
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=/view/1.2/3.4%3Fframe%3D7")
    assert [site.web.get(path, headers=page).status_code for path in ("/", "/metrics", "/nothing")] == [303] * 3
    assert site.web.get("/", headers=page | site.bearer("write")).status_code == 403
    assert site.web.get(STUDIES, headers=page).status_code == 401
    assert site.web.get("/login").status_code == 200
    assert "unsafe" not in site.web.get("/login").headers["content-security-policy"]


def test_sessions_end(site: Site) -> None:
    from isocenter.web.identity import Identity
    from isocenter.web.sessions import Sessions

    now = [1000.0]
    table = Sessions(Settings().replace(web_session_time=100, web_session_idle=30, web_sessions=2), lambda: now[0])
    anna = Identity("anna", frozenset({"read"}))
    idle, busy = table.open(anna), table.open(anna)
    now[0] += 29
    assert table.find(busy) == anna
    now[0] += 1
    assert (table.find(idle), table.find(busy)) == (None, anna)
    for _ in range(3):
        now[0] += 20
        assert table.find(busy) == anna
    now[0] += 10
    assert table.find(busy) is None, "the longest"
    short = table.open(Identity("bert", frozenset({"read"}), expires=now[0] + 5))
    now[0] += 5
    assert table.find(short) is None, "no longer than its token"
    many = [table.open(anna) for _ in range(5)]
    assert (len(table), [table.find(one) is not None for one in many]) == (2, [False, False, False, True, True])
    assert table.find("") is None
