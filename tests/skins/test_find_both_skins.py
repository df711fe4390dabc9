"""The same question over C-FIND and over QIDO-RS has the same answers, with the same values."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import isocenter
import ours
from isocenter.errors import OperationFailed
from isocenter.net.blocking import BlockingPeer
from isocenter.server import Node
from query_objects import objects

# What each level is compared by.
RETURNED = {
    "STUDY": (
        "StudyInstanceUID", "PatientName", "PatientID", "StudyDate", "StudyTime", "AccessionNumber",
        "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "InstanceAvailability",
        "StudyDescription",
    ),
    "SERIES": (
        "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances",
        "PatientName",
    ),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "SeriesInstanceUID", "Modality", "PatientID"),
}  # fmt: skip
RESOURCE = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}


@pytest.fixture(scope="module")
def skins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, BlockingPeer]]:
    with (
        ours.node(tmp_path_factory.mktemp("both")) as node,
        isocenter.sync.connect(node.address) as pacs,
    ):
        assert {outcome.status for outcome in pacs.store(objects())} == {0}
        yield node, pacs


def by_dimse(pacs: BlockingPeer, level: str, keys: dict[str, str], fuzzy: bool) -> list[dict[str, Any]]:
    asked = {**dict.fromkeys(RETURNED[level], ""), **keys}
    found = [match.to_json_dict() for match in pacs.find(level, relational=True, fuzzy=fuzzy, **asked)]
    return [{name: one for name, one in match.items() if name not in _OWN} for match in found]


def by_web(node: Node, level: str, keys: dict[str, str], fuzzy: bool) -> list[dict[str, Any]]:
    parameters = [*keys.items(), ("includefield", ",".join(RETURNED[level])), ("fuzzymatching", str(fuzzy).lower())]
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{node.url}dicomweb/{RESOURCE[level]}?{query}") as answer:
        return list(json.load(answer))


# What DIMSE adds, and the level.
_OWN = ("00080005", "00080052", "00080054")


@pytest.mark.parametrize(
    ("count", "level", "keys", "fuzzy"),
    [
        (6, "STUDY", {}, False),
        (1, "STUDY", {"PatientName": "hong^gildong"}, False),
        (1, "STUDY", {"PatientName": "*길동"}, False),
        (1, "STUDY", {"PatientName": "=洪^吉洞"}, False),
        (1, "STUDY", {"PatientName": "山田*"}, False),
        (1, "STUDY", {"PatientName": "gildong"}, True),
        (0, "STUDY", {"PatientName": "gildong"}, False),
        (1, "STUDY", {"PatientID": "100%_A"}, False),
        (2, "STUDY", {"PatientID": "100??A"}, False),
        (0, "STUDY", {"PatientID": "%"}, False),
        (3, "STUDY", {"StudyDate": "20240101-20240131"}, False),
        (2, "STUDY", {"StudyDate": "20240101-20240131", "StudyTime": "-1159"}, False),
        (2, "STUDY", {"ModalitiesInStudy": "MR"}, False),
        (3, "STUDY", {"ModalitiesInStudy": "MR\\US"}, False),
        (8, "SERIES", {}, False),
        (3, "SERIES", {"Modality": "MR\\SR"}, False),
        (2, "SERIES", {"PatientID": "JP"}, False),
        (11, "IMAGE", {}, False),
        (3, "IMAGE", {"PatientName": "Yamada*"}, False),
        (2, "IMAGE", {"InstanceNumber": "2"}, False),
    ],
)
def test_both_skins_say_the_same(
    skins: tuple[Node, BlockingPeer], count: int, level: str, keys: dict[str, str], fuzzy: bool
) -> None:
    node, pacs = skins
    dimse, web = by_dimse(pacs, level, keys, fuzzy), by_web(node, level, keys, fuzzy)
    assert (len(dimse), len(web)) == (count, count)
    for ours_by_dimse, ours_by_web in zip(dimse, web, strict=True):
        assert ours_by_dimse == {name: ours_by_web.get(name) for name in ours_by_dimse}


@pytest.mark.parametrize(
    "keys", [{"StudyDate": "yesterday"}, {"StudyInstanceUID": "1..2"}, {"SeriesNumber": "one"}, {"Modality": "C?\\MR"}]
)
def test_both_skins_refuse_the_same(skins: tuple[Node, BlockingPeer], keys: dict[str, str]) -> None:
    node, pacs = skins
    with pytest.raises(OperationFailed) as failed:
        by_dimse(pacs, "SERIES", keys, False)
    assert failed.value.status == 0xA900
    with pytest.raises(urllib.error.HTTPError) as refused:
        by_web(node, "SERIES", keys, False)
    with refused.value:
        assert refused.value.code == 400
