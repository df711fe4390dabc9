"""Other people's clients against a server with authentication: dicomweb-client with a token, curl with both kinds."""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file

import ours
import peers
from isocenter.net.identity import set_user
from isocenter.web.site_tokens import issue

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' own
    from dicomweb_client.api import DICOMwebClient
    from dicomweb_client.session_utils import create_session_from_user_pass

pytestmark = pytest.mark.interop


@dataclass
class Site:
    url: str
    tokens: dict[str, str]

    def client(self, *scopes: str) -> DICOMwebClient:
        headers = {"Authorization": f"Bearer {self.tokens[','.join(scopes)]}"}
        return DICOMwebClient(f"{self.url}dicomweb", headers=headers)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    tokens = {}
    for scopes in (("read",), ("write",), ("read", "write", "delete")):
        tokens[",".join(scopes)] = issue(tmp_path / "tokens", "-".join(scopes), scopes)[1]
    set_user(tmp_path / "users", "anna", "right one")
    rows = {"web_tokens": str(tmp_path / "tokens"), "web_users": str(tmp_path / "users"), "archive_minimum_free": 0}
    with ours.node(tmp_path / "data", **rows) as node:
        yield Site(node.url, tokens)


@pytest.mark.interop(service="Bearer token", peer="dicomweb-client", role="SCP")
def test_dicomweb_client_with_a_token(site: Site) -> None:
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    everything = site.client("read", "write", "delete")
    site.client("write").store_instances([ds])
    (found,) = site.client("read").search_for_studies()
    assert found["0020000D"]["Value"] == [ds.StudyInstanceUID]
    back = site.client("read").retrieve_instance(*uids)
    assert back.PixelData == ds.PixelData
    assert len(site.client("read").retrieve_instance_frames(*uids, frame_numbers=[1])) == 1
    refused = []
    for action in (
        lambda: DICOMwebClient(f"{site.url}dicomweb").search_for_studies(),
        lambda: site.client("write").search_for_studies(),
        lambda: site.client("read").store_instances([ds]),
        lambda: site.client("read", "write", "delete").delete_instance(*uids),
        lambda: site.client("read").delete_study(uids[0], additional_params={"reason": "test"}),
    ):
        with pytest.raises(requests.HTTPError) as error:
            action()
        refused.append(error.value.response.status_code)
    assert refused == [401, 403, 403, 400, 403]
    everything.delete_instance(*uids, additional_params={"reason": "a test is over"})
    assert everything.search_for_studies() == []


@pytest.mark.interop(service="HTTP Basic", peer="dicomweb-client", role="SCP")
def test_dicomweb_client_with_a_passcode(site: Site) -> None:
    client = DICOMwebClient(f"{site.url}dicomweb", session=create_session_from_user_pass("anna", "right one"))
    assert client.search_for_studies() == []
    wrong = DICOMwebClient(f"{site.url}dicomweb", session=create_session_from_user_pass("anna", "wrong"))
    with pytest.raises(requests.HTTPError):
        wrong.search_for_studies()


def curl(*words: str) -> tuple[int, str]:
    peers.require("curl")
    made = subprocess.run(
        ["curl", "--silent", "--include", "--max-time", "20", *words], capture_output=True, text=True, check=True
    )
    return int(made.stdout.split(" ", 2)[1]), made.stdout


@pytest.mark.interop(service="Bearer token", peer="curl", role="SCP")
@pytest.mark.interop(service="HTTP Basic", peer="curl", role="SCP")
def test_curl(site: Site) -> None:
    studies = f"{site.url}dicomweb/studies"
    status, head = curl(studies)
    assert status == 401
    assert 'www-authenticate: Bearer realm="isocenter"' in head
    assert curl("--oauth2-bearer", site.tokens["read"], studies)[0] == 200
    assert curl("--user", "anna:right one", studies)[0] == 200
    assert curl("--user", "anna:wrong", studies)[0] == 401
    assert curl("--header", "Host: evil.example", studies)[0] == 421
    assert curl("--header", "Origin: https://evil.example", "--user", "anna:right one", studies)[0] == 403
    assert curl("--path-as-is", f"{site.url}js/../../../etc/passwd")[0] == 401
    assert curl("--request", "TRACE", f"{site.url}healthz")[0] == 405
    body = json.dumps({"user": "anna", "passcode": "right one"})
    status, head = curl("--json", body, "--header", f"Origin: {site.url[:-1]}", f"{site.url}session")
    assert status == 204
    cookie = head.partition("set-cookie: ")[2].partition(";")[0]
    assert curl("--cookie", cookie, studies)[0] == 200
    assert curl("--cookie", cookie, "--request", "DELETE", f"{studies}/1.2.3?reason=x")[0] == 403
