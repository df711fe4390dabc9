"""What every answer has: one form of errors, security headers, metrics; and the viewer's files."""

from __future__ import annotations

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file

from isocenter.errors import ArchiveBusy
from isocenter.web.assets import STATIC
from skins.web_harness import Web, copies


def test_health(web: Web) -> None:
    response = web.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_health_of_an_index_that_does_not_answer(fake: Web) -> None:
    async def find(query: object) -> None:
        raise ArchiveBusy("the index is locked")

    fake.archive.find = find
    response = fake.get("/healthz")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["error"]["code"] == "busy"


def test_metrics_count_requests_by_resource_and_never_by_path(web: Web) -> None:
    files = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 2)
    web.store(*files, b"not DICOM")
    web.get("/dicomweb/studies/1.2.3.4.5")
    text = web.get("/metrics").text
    assert 'isocenter_http_requests_total{method="POST",resource="store",status="202"} 1.0' in text
    assert 'isocenter_http_requests_total{method="GET",resource="retrieve",status="404"} 1.0' in text
    assert 'isocenter_stow_instances_total{outcome="stored"} 2.0' in text
    assert 'isocenter_stow_instances_total{outcome="refused"} 1.0' in text
    assert 'isocenter_archive{what="instances"} 2.0' in text
    assert "1.2.3.4.5" not in text


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        (404, "GET", "/nothing"),
        (404, "GET", "/dicomweb"),
        (404, "GET", "/dicomweb/nothing"),
        (404, "GET", "/../../etc/passwd"),
        (404, "GET", "/%2e%2e/%2e%2e/etc/passwd"),
        (404, "GET", "/static/../../../settings.py"),
        (403, "DELETE", "/dicomweb/studies"),
        (405, "PATCH", "/dicomweb/studies"),
        (405, "PUT", "/dicomweb/studies/1.2"),
        (405, "POST", "/dicomweb/instances"),
        (405, "POST", "/healthz"),
        (405, "BREW", "/dicomweb/studies"),
        (400, "GET", "/dicomweb/studies?limit=x"),
        (404, "GET", "/dicomweb/studies/1.2"),
    ],
)
def test_errors_have_one_form(web: Web, status: int, method: str, path: str) -> None:
    response = web.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"code", "message", "hint", "status"}
    assert response.json()["error"]["status"] == status
    assert (status == 405) == ("allow" in response.headers)


@pytest.mark.parametrize(
    ("allowed", "method", "path"),
    [
        ("DELETE, GET, HEAD, POST", "PUT", "/dicomweb/studies/1.2"),
        ("GET, HEAD, POST", "PATCH", "/dicomweb/studies"),
        ("DELETE, GET, HEAD", "POST", "/dicomweb/studies/1.2/series/1.3"),
        ("GET, HEAD", "PUT", "/dicomweb/studies/1.2/metadata"),
        ("GET, HEAD", "POST", "/healthz"),
        ("GET, HEAD", "POST", "/js/viewer.js"),
        ("DELETE, GET, HEAD, POST", "PUT", "/session"),
    ],
)
def test_a_refused_method_is_answered_with_all_that_there_are(web: Web, allowed: str, method: str, path: str) -> None:
    """RFC 9110 section 15.5.6, also where several routes have one path."""
    response = web.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


def test_what_was_not_foreseen_says_nothing_of_itself(fake: Web, caplog: pytest.LogCaptureFixture) -> None:
    async def find(query: object) -> None:
        raise ValueError("Doe^Jane")

    fake.archive.find = find
    response = fake.get("/dicomweb/studies")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Doe" not in response.text + caplog.text
    assert "ValueError" in caplog.text
    assert "test_web_surface.py" in caplog.text


@pytest.mark.parametrize("path", ["/dicomweb/studies", "/dicomweb/nothing", "/dicomweb/studies/1.2/metadata"])
def test_data_are_not_cached_and_never_a_page(web: Web, path: str) -> None:
    headers = web.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["a b", "x/y", 'evil"><script>', "a,b", "[::1", "x" * 300])
def test_a_host_that_is_none_reaches_no_answer(web: Web, host: str) -> None:
    response = web.get("/dicomweb/studies", headers={"host": host})
    assert response.status_code == 400
    assert host not in response.text


@pytest.mark.parametrize("host", ["localhost:8042", "[::1]:8042", "pacs.example.org"])
def test_urls_are_those_of_the_client(web: Web, host: str) -> None:
    web.store(*copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1))
    (study,) = web.get("/dicomweb/studies", headers={"host": host}).json()
    assert study["00081190"]["Value"][0].startswith(f"http://{host}/dicomweb/studies/")


def test_a_client_that_leaves_our_port_out_of_host(web: Web) -> None:
    web.store(*copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1))
    transport = httpx.ASGITransport(web.app)

    async def ask(base: str, host: str) -> str:
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            (study,) = (await client.get("/dicomweb/studies", headers={"host": host})).json()
        return str(study["00081190"]["Value"][0])

    own = web.portal.call(ask, "http://127.0.0.1:8042", "127.0.0.1")
    assert own.startswith("http://127.0.0.1:8042/")
    proxied = web.portal.call(ask, "http://127.0.0.1:8042", "pacs.example.org")
    assert proxied.startswith("http://pacs.example.org/")


needs_viewer = pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the viewer's page is not there")


@needs_viewer
@pytest.mark.parametrize("path", ["/", "/view/1.2.3", "/view/1.2.3/4.5.6?frame=7"])
def test_the_viewer_and_its_addresses(web: Web, path: str) -> None:
    response = web.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<title>Isocenter</title>" in response.text
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["x-frame-options"] == "DENY"


@needs_viewer
def test_every_file_of_the_viewer_is_served_with_its_type(web: Web) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
    files = [path for path in STATIC.rglob("*") if path.suffix in types]
    assert files
    for path in files:
        response = web.get(f"/{path.relative_to(STATIC).as_posix()}")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(types[path.suffix])
        assert response.headers["cache-control"] == "no-cache"
        etag = response.headers["etag"]
        assert web.get(response.url.path, headers={"if-none-match": etag}).status_code == 304
