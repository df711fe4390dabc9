"""Every question DICOMweb has about every real file: an answer or a refusal, never a failure of ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest

import ours

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(900)]

LARGEST = 16 * 1024 * 1024
QUESTIONS = (
    ("/metadata", "application/dicom+json"),
    ("/frames/1", "*/*"),
    ("/frames/1", 'multipart/related; type="*/*"; transfer-syntax=*'),
    ("/rendered", "image/jpeg"),
    ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
)
# An object of no patient has no metadata resource: its JSON is one of its representations (PS3.18 section 12).
OF_NO_PATIENT = (("", "application/dicom+json"), ("", "application/dicom"))


def test_no_question_about_a_real_file_ends_in_a_server_error(corpus: Path, tmp_path: Path) -> None:
    files = sorted(path for path in corpus.rglob("*") if path.is_file() and 0 < path.stat().st_size <= LARGEST)
    failures: list[str] = []
    answers: Counter[tuple[str, int]] = Counter()
    with (
        ours.node(tmp_path / "data", archive_minimum_free=0) as node,
        httpx.Client(base_url=node.url, timeout=120) as client,
    ):
        for path in files:
            headers = {"content-type": "application/dicom"}
            stored = client.post("/dicomweb/studies", content=path.read_bytes(), headers=headers)
            if stored.status_code >= 500:
                failures.append(f"store {path.relative_to(corpus)}: {stored.status_code}")
            if stored.status_code != 200:
                continue
            url = stored.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
            of_patient = "/studies/" in url
            for question, accept in QUESTIONS if of_patient else OF_NO_PATIENT:
                status = client.get(url + question, headers={"accept": accept}).status_code
                answers[question if of_patient else accept, status] += 1
                if status >= 500 or ((question == "/metadata" or not of_patient) and status != 200):
                    failures.append(f"{question} of {path.relative_to(corpus)}: {status}")
    print(dict(answers))
    assert failures == []
    assert answers["/metadata", 200] > 500
    assert answers["/rendered", 200] > 300
    assert answers["application/dicom+json", 200] >= 8
