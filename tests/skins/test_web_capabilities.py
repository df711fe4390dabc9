"""Capabilities, the OpenAPI document and the table that they are made of; and whatever it allows, asked at random."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydicom
import pytest
from hypothesis import HealthCheck, Phase, settings
from pydicom.data import get_testdata_file
from starlette.routing import Route

from isocenter.web.assets import STATIC
from isocenter.web.capabilities import openapi
from isocenter.web.context import DICOMWEB
from isocenter.web.resources import RESOURCE_TABLE
from skins.conftest import archived
from skins.web_harness import Web, copies

TESTS = Path(__file__).parent
EXAMPLES = int(os.environ.get("ISOCENTER_FUZZ", "5"))  # of each operation


def test_the_table_is_what_is_routed(fake: Web) -> None:
    app: Any = fake.app
    routed = {
        (method, route.path.removeprefix(DICOMWEB).replace(":path}", "}").replace("{npi:npi}", "{npi}"))
        for route in app.routes
        if isinstance(route, Route) and (route.path == DICOMWEB or route.path.startswith(f"{DICOMWEB}/"))
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert {(resource.method, resource.path) for resource in RESOURCE_TABLE} == routed
    assert len({resource.name for resource in RESOURCE_TABLE if resource.path}) == len(
        [resource for resource in RESOURCE_TABLE if resource.path]
    )


def test_each_row_names_a_test_that_is_there() -> None:
    """As file::function, so that the reference page leads to what shows each resource."""
    named = {tuple(row.test.split("::")) for row in RESOURCE_TABLE}
    for file in {file for file, *_ in named}:
        there = {node.name for node in ast.parse((TESTS / file).read_text("utf-8")).body if hasattr(node, "name")}
        assert {tuple(rest) for name, *rest in named if name == file} <= {(name,) for name in there}, file


def test_each_row_names_a_section_or_is_ours() -> None:
    """Sections of PS3.18 have numbers; a row without one says on the page that it is not in the standard."""
    assert [row for row in RESOURCE_TABLE if row.section and not re.fullmatch(r"[0-9F][0-9., ]*", row.section)] == []
    ours = {row.path.split("/")[1] for row in RESOURCE_TABLE if not row.section}
    assert ours <= {"studies", "tally", "changes", "events", "openapi.json", "modality-scheduled-procedure-steps"}


def test_wadl(web: Web) -> None:
    answer = web.request("OPTIONS", "/dicomweb/", headers={"accept": "application/vnd.sun.wadl+xml"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
    space = "{http://wadl.dev.java.net/2009/02}"
    root = ElementTree.fromstring(answer.content)
    (resources,) = root
    assert resources.get("base") == "http://archive.test/dicomweb"
    names = [method.get("id") for method in root.iter(f"{space}method")]
    assert sorted(names) == sorted(row.name for row in RESOURCE_TABLE if row.path not in ("", "/"))
    studies = next(one for one in resources if one.get("path") == "studies")
    assert {method.get("name") for method in studies.findall(f"{space}method")} == {"GET", "POST"}


def test_openapi(web: Web) -> None:
    by_options = web.request("OPTIONS", "/dicomweb", headers={"accept": "application/json"})
    answer = web.get("/dicomweb/openapi.json")
    assert answer.json() == by_options.json() == openapi("http://archive.test/dicomweb")
    assert by_options.headers["allow"] == "DELETE, GET, OPTIONS, POST, PUT"
    assert web.request("OPTIONS", "/dicomweb", headers={"accept": "text/html"}).status_code == 406
    paths = answer.json()["paths"]
    assert paths["/studies/{study}"]["delete"]["parameters"][1]["name"] == "reason"


def test_the_page_loads_nothing_from_elsewhere(web: Web) -> None:
    page = web.get("/api.html")
    assert page.status_code == 200
    text = page.text + (STATIC / "js" / "api.js").read_text() + (STATIC / "css" / "api.css").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in text


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("filled") / "data") as web:
        stored = web.store(*copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 2))
        assert stored.status_code == 200
        yield web


schemathesis = pytest.importorskip("schemathesis")


@schemathesis.serializer("multipart/related", "application/dicom", "application/dicom+xml", "application/dicom+json")
def raw(context: Any, value: Any) -> bytes:
    """Bodies at random; those that mean something are in the other tests."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


described = schemathesis.openapi.from_dict(openapi("http://archive.test/dicomweb"))
endless = described.exclude(path="/events")


@endless.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_nothing_that_can_be_asked_is_a_failure_of_ours(filled: Web, case: Any) -> None:
    """schemathesis makes requests within the OpenAPI document and beyond it: each is answered, none with 5xx."""
    asked = case.as_transport_kwargs(base_url="http://archive.test/dicomweb")
    asked.pop("cookies", None)
    body = asked.pop("data", None)
    if body is not None:
        asked["content" if isinstance(body, (bytes, str)) else "data"] = body
    answer = filled.request(asked.pop("method"), asked.pop("url"), **asked)
    assert answer.status_code < 500, (case, answer.text)
    if answer.status_code >= 400:
        assert set(answer.json()) <= {"error", "00081198", "00081199", "0008119A", "00081190"}
