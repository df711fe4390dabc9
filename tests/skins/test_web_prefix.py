"""Below a path of a proxy's, https://host/pacs/ -> us: whatever address an answer names is one that the client
reaches, whether the proxy takes the path off or leaves it on, and says so or a setting does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file
from starlette.routing import Route
from websockets.sync.client import connect

import isocenter
import ours
from isocenter.errors import SettingsError
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.web.forwarded import OWN
from isocenter.web.site_tokens import issue
from prefixing_proxy import prefixing
from skins.fake_archive import FakeArchive
from skins.web_harness import portal, web_of
from work_objects import workitem

CT = Path(get_testdata_file("CT_small.dcm"))
PREFIX = "/hospital/pacs"


@dataclass
class Site:
    """A server behind a proxy; `url` is where its clients reach it."""

    url: str
    direct: str

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicomweb"


@pytest.fixture(
    scope="module",
    params=[(True, True), (True, False), (False, True), (False, False)],
    ids=["taken off and told", "taken off and set", "left on and told", "left on and set"],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    strip, tell = request.param
    rows = {"web_proxies": "127.0.0.1"} if tell else {"web_prefix": f"{PREFIX}/"}
    data = tmp_path_factory.mktemp("behind") / "data"
    with (
        ours.node(data, archive_minimum_free=0, **rows) as node,
        prefixing(node.web[1], PREFIX, strip=strip, tell=tell) as url,
        isocenter.web_client(f"{url}/dicomweb") as client,
    ):
        assert [True] == [one.stored for one in client.store([CT])]
        yield Site(url, node.url.rstrip("/"))


def addresses(model: Any) -> Iterator[str]:
    """All that DICOM JSON, or any other, names."""
    if isinstance(model, dict):
        for value in model.values():
            yield from addresses(value)
    elif isinstance(model, list):
        for value in model:
            yield from addresses(value)
    elif isinstance(model, str) and re.match("(http|ws)s?://", model):
        yield model


def test_our_client_finds_and_gets_there(site: Site, tmp_path: Path) -> None:
    ct = pydicom.dcmread(CT)
    with isocenter.web_client(site.dicomweb) as client:
        (found,) = client.find("IMAGE", PatientID="1CT1")
        assert found.RetrieveURL.startswith(f"{site.dicomweb}/studies/{ct.StudyInstanceUID}/")
        (path,) = client.get(tmp_path, ct.StudyInstanceUID)
        assert CT.read_bytes() == path.read_bytes()
        list(client.find("STUDY", Modality="NM"))
        assert client.warnings[0].startswith("These parameters")


def test_addresses_in_answers_lead_back_here(site: Site) -> None:
    ct = pydicom.dcmread(CT)
    study = f"{site.dicomweb}/studies/{ct.StudyInstanceUID}"
    with httpx.Client(timeout=30) as client:
        stored = client.post(
            f"{site.dicomweb}/studies", content=CT.read_bytes(), headers={"content-type": "application/dicom"}
        )
        found = [client.get(f"{site.dicomweb}/{level}") for level in ("studies", "series", "instances")]
        metadata = client.get(f"{study}/metadata")
        described = client.options(site.dicomweb, headers={"accept": "application/json"})
        assert [200] * 6 == [one.status_code for one in (stored, *found, metadata, described)]
        named = [address for one in (stored, *found, metadata) for address in addresses(one.json())]
        assert len(named) >= 6
        assert described.json()["servers"] == [{"url": site.dicomweb}]
        for address in named:
            assert address.startswith(f"{site.dicomweb}/"), address
        for address in set(named):
            accept = (
                "application/octet-stream" if "bulkdata" in address else "multipart/related; type=application/dicom"
            )
            answer = client.get(address, headers={"accept": accept})
            assert (200, address) == (answer.status_code, address), answer.text
            if "bulkdata" in address:
                same = ct[int(address.rpartition("/")[2], 16)].value == answer.content
                assert same, address
        parts = client.get(study, headers={"accept": 'multipart/related; type="application/dicom"'}).content
        (location,) = re.findall(rb"Content-Location: (\S+)", parts)
        assert 200 == client.get(location.decode(), headers={"accept": "application/dicom"}).status_code
        warned = client.get(f"{site.dicomweb}/studies?Modality=NM").headers["warning"]
        assert warned.startswith(f"299 {site.dicomweb}: ")


def test_steps_of_work_and_their_channel(site: Site) -> None:
    with httpx.Client(timeout=30, headers={"content-type": "application/dicom+json"}) as client:
        made = client.post(f"{site.dicomweb}/workitems", content=json.dumps(workitem()))
        where = made.headers["location"]
        assert where.startswith(f"{site.dicomweb}/workitems/")
        assert 200 == client.get(where).status_code
        told = client.post(f"{where}/subscribers/READER").headers["content-location"]
        assert told == f"{site.dicomweb}/subscribers/READER".replace("http", "ws", 1)
        with connect(told, proxy=None) as channel:
            assert 202 == client.post(f"{where}/cancelrequest", content="[{}]").status_code
            assert [where.rpartition("/")[2]] == json.loads(channel.recv(30))["00001000"]["Value"]


def test_pages_and_their_files(site: Site) -> None:
    with httpx.Client(timeout=30, headers={"accept": "text/html"}) as client:
        page = client.get(f"{site.url}/view/1.2.3")
        assert 200 == page.status_code
        names = re.findall(r'(?:href|src)="([^"]*static/[^"]+)"', page.text)
        assert len(names) > 10
        assert {200} == {client.get(page.url.join(name)).status_code for name in names[:3]}


def test_the_folder_itself_is_asked_for_with_its_slash(tmp_path: Path) -> None:
    with ours.node(tmp_path, web_prefix=PREFIX, archive_minimum_free=0) as node:
        answer = httpx.get(f"{node.url.rstrip('/')}{PREFIX}?q=a")
        assert (308, f"{PREFIX}/?q=a") == (answer.status_code, answer.headers["location"])


def test_who_has_to_sign_in_is_led_there_and_back(tmp_path: Path) -> None:
    secret = issue(tmp_path / "tokens", "anna", ["read"])[1]
    rows = {"web_proxies": "127.0.0.1", "web_tokens": str(tmp_path / "tokens"), "archive_minimum_free": 0}
    with ours.node(tmp_path / "data", **rows) as node:
        for strip in (True, False):
            with prefixing(node.web[1], PREFIX, strip=strip, tell=True) as url, httpx.Client(timeout=30) as client:
                led = client.get(f"{url}/view/1.2?frame=2", headers={"accept": "text/html"})
                assert led.status_code == 303
                assert f"{PREFIX}/login?next={PREFIX}/view/1.2%3Fframe%3D2" == led.headers["location"]
                page = client.get(led.next_request.url if led.next_request else "")
                assert "Sign in" in page.text
                origin = {"origin": url.removesuffix(PREFIX)}
                assert 204 == client.post(f"{url}/session", json={"token": secret}, headers=origin).status_code
                assert 200 == client.get(f"{url}/view/1.2?frame=2").status_code
                # What the gate judges is what is then found: a path is taken off once.
                for twice in (f"{url}{PREFIX}/metrics", f"{url}{PREFIX}{PREFIX}/metrics"):
                    assert client.get(twice).status_code in (403, 404), twice


def test_nobody_but_a_proxy_is_believed(tmp_path: Path) -> None:
    with ours.node(tmp_path, archive_minimum_free=0) as node:
        answer = httpx.get(f"{node.url}dicomweb/studies?Modality=NM", headers={"x-forwarded-prefix": "/pacs"})
        assert answer.headers["warning"].startswith(f"299 {node.url}dicomweb: ")


@pytest.mark.parametrize(
    "prefix",
    [
        "pacs",
        "//evil.example",
        "/a//b",
        "/a/../b",
        "/.",
        "/a b",
        "/a%2Fb",
        "/a\\b",
        "/" + "x" * 300,
        "/dicomweb",
        "/view/x",
    ],
)
def test_what_is_no_prefix(prefix: str) -> None:
    with pytest.raises(SettingsError, match=r"web\.prefix: "):
        create_app(FakeArchive(), Settings(web_prefix=prefix)).build_middleware_stack()  # type: ignore[arg-type]
    settings = Settings(web_hosts="archive.test", web_proxies="127.0.0.1")
    with portal() as running, web_of(create_app(FakeArchive(), settings), None, running) as web:  # type: ignore[arg-type]
        answer = web.get("/healthz", headers={"x-forwarded-prefix": prefix})
        assert (400, "X-Forwarded-Prefix: ") == (answer.status_code, answer.json()["error"]["message"][:20])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert 200 == web.get("/healthz", headers={"x-forwarded-prefix": "/"}).status_code


def test_no_path_of_ours_could_be_one_with_a_prefix() -> None:
    routes = create_app(FakeArchive(), Settings(web_prefix="/pacs")).routes  # type: ignore[arg-type]
    paths = [route.path.split("/") for route in routes if isinstance(route, Route)]
    below = {path[1] for path in paths if len(path) > 2 and "{" not in path[1]}
    assert below <= OWN
