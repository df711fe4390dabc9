"""The [[forward]] tables: what they take, what they refuse, and which instances they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isocenter.archive.routing import Router, load_rules
from isocenter.errors import SettingsError
from isocenter.index.base import Applied, Entry, Kind
from isocenter.index.jobs import Wanted
from isocenter.known_peers import KnownPeer, load_peers
from isocenter.model import InstanceRef, Origin
from isocenter.settings import Settings, load
from isocenter.std.dictionary import tag_of
from isocenter.testing.index_suite import HANGING_PROTOCOL, MR, entry, non_patient_entry

PEERS = """
[[peer]]
name = "pacs"
aet = "PACS"
host = "10.0.0.7"
port = 104

[[peer]]
name = "ai"
aet = "AI"
host = "10.0.0.8"
port = 104
"""
SCANNER = Origin("dimse", "10.0.0.1:4000", "SCANNER1", "ISOCENTER")


def rules_of(folder: Path, text: str) -> Router:
    file = folder / "isocenter.toml"
    file.write_text(PEERS + text)
    load(file, environ={})  # no unknown table for the settings
    router = Router(Settings(), lambda: None)
    peers = load_peers(file)
    router.replace(Settings(), load_rules(file, peers), peers.values())
    return router


def stored(one: Entry, kind: Kind = "stored") -> Applied:
    study, series, image = one.keys.study.uid, one.keys.series.uid, one.keys.image.uid
    return Applied(
        kind, InstanceRef(study, series, image, one.keys.sop_class, one.transfer_syntax, one.blob, 1, 0, "", "", None)
    )


def targets(router: Router, *entries: Entry, kind: Kind = "stored") -> list[str]:
    return [wanted.target for wanted in router.wanted(entries, [stored(one, kind) for one in entries])]


def ct(origin: Origin = SCANNER, **attributes: str) -> Entry:
    named = {f"x{tag_of(keyword):08X}": value for keyword, value in attributes.items()}
    return entry("1", "1.1", "1.1.1", **named)._replace(origin=origin)


def mr(origin: Origin = SCANNER) -> Entry:
    return entry("2", "2.1", "2.1.1", x00080060="MR", x00080016=MR)._replace(origin=origin)


def test_a_rule_without_conditions_takes_everything(tmp_path: Path) -> None:
    router = rules_of(tmp_path, '[[forward]]\nto = "pacs"\n')
    assert ["pacs"] == targets(router, ct(), mr())
    assert [Wanted("forward", "pacs", items=["1.1.1", "2.1.1"], gather=Settings().jobs_give_up / 2)] == router.wanted(
        [ct(), mr()], [stored(ct()), stored(mr())]
    )


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ('Modality = "CT"', [True, False]),
        ('Modality = ["CT", "MR"]', [True, True]),
        ('Modality = "C?"', [True, False]),
        ('SOPClassUID = "CTImageStorage"', [True, False]),
        ('SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"', [False, True]),
        ('calling = "SCANNER*"', [True, True]),
        ('calling = ["X", "SCANNER?"]', [True, True]),
        ('calling = "SCANNER"', [False, False]),
        ('called = "OTHER"', [False, False]),
        ('origin = "web"', [False, False]),
        ('Modality = "CT", calling = "SCANNER2"', [False, False]),
        ('StationName = "ROOM*"', [True, False]),
        ('StationName = ""', [False, True]),
        ('StudyInstanceUID = "2"', [False, True]),
    ],
)
def test_conditions(tmp_path: Path, when: str, meant: list[bool]) -> None:
    router = rules_of(tmp_path, f'[[forward]]\nto = "pacs"\nwhen = {{ {when} }}\n')
    assert meant == [bool(targets(router, one)) for one in (ct(StationName="ROOM4"), mr())]


def test_one_rule_may_name_several_peers_and_several_rules_one(tmp_path: Path) -> None:
    router = rules_of(
        tmp_path, '[[forward]]\nto = ["pacs", "ai"]\n[[forward]]\nto = "ai"\nwhen = { Modality = "CT" }\n'
    )
    assert ["pacs", "ai"] == targets(router, ct())


def test_never_back_to_the_sender_unless_the_rule_says_so(tmp_path: Path) -> None:
    from_pacs = replace(SCANNER, calling="PACS")
    assert [] == targets(rules_of(tmp_path, '[[forward]]\nto = "pacs"\n'), ct(from_pacs))
    assert ["pacs"] == targets(rules_of(tmp_path, '[[forward]]\nto = "pacs"\nback = true\n'), ct(from_pacs))
    # Of a web user's name nothing follows.
    web = Origin("web", "10.0.0.1:4000", "PACS")
    assert ["pacs"] == targets(rules_of(tmp_path, '[[forward]]\nto = "pacs"\n'), ct(web))


def test_whoever_is_to_commit_itself_gets_jobs_of_its_own_and_one_rule_is_enough(tmp_path: Path) -> None:
    router = rules_of(
        tmp_path,
        '[[forward]]\nto = ["pacs", "ai"]\n[[forward]]\nto = "ai"\ncommit = true\nwhen = { Modality = "CT" }\n',
    )
    assert {("pacs", ""), ("ai", "commit")} == {(one.target, one.key) for one in router.wanted([ct()], [stored(ct())])}
    assert {("pacs", ""), ("ai", "")} == {(one.target, one.key) for one in router.wanted([mr()], [stored(mr())])}


@pytest.mark.parametrize("kind", ["already-there", "kept-first", "rejected"])
def test_what_is_not_new_is_not_forwarded(tmp_path: Path, kind: Kind) -> None:
    router = rules_of(tmp_path, '[[forward]]\nto = "pacs"\n')
    assert [] == targets(router, ct(), kind=kind)
    assert ["pacs"] == targets(router, ct(), kind="replaced")


def test_peers_are_notified_study_by_study() -> None:
    router = Router(Settings(), lambda: None)
    assert () == router.wanted([ct()], [stored(ct())])
    ris = KnownPeer("ris", "RIS", "10.0.0.9", 104, notify=True)  # type: ignore[arg-type]
    router.replace(Settings().replace(jobs_notify_after=5), (), [ris])
    gather = Settings().jobs_give_up / 2
    assert [
        Wanted("notify", "ris", items=["1.1.1"], key="1", gather=gather, delay=5),
        Wanted("notify", "ris", items=["2.1.1"], key="2", gather=gather, delay=5),
    ] == router.wanted([ct(), mr()], [stored(ct()), stored(mr())])


def test_whoever_waits_for_jobs_is_told_only_of_some() -> None:
    told: list[int] = []
    router = Router(Settings(), lambda: told.append(1))
    router.wanted([ct()], [stored(ct())])
    router.committed()
    assert [] == told
    router.replace(Settings(), (), [KnownPeer("ris", "RIS", "10.0.0.9", 104, notify=True)])  # type: ignore[arg-type]
    router.wanted([ct()], [stored(ct())])
    assert [] == told, "not before it is durable"
    router.committed()
    router.committed()
    assert [1] == told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[forward]\nto = "pacs"', r"tables of their own, \[\[forward\]\]"),
        ("[[forward]]", "forward 1: to: a text or a list of texts is needed"),
        ('[[forward]]\nto = "PACS"', r"to: there is no \[\[peer\]\] named 'PACS'"),
        ('[[forward]]\nto = "pacs"\nwhere = {}', r"there is no setting where; when\?"),
        ('[[forward]]\nto = "pacs"\nwhen = "CT"', "when: a table is needed"),
        ('[[forward]]\nto = "pacs"\nwhen = { modality = "CT" }', r"there is no condition modality; Modality\?"),
        ('[[forward]]\nto = "pacs"\nwhen = { ContrastBolusAgent = "x" }', "there is no condition ContrastBolusAgent"),
        ('[[forward]]\nto = "pacs"\nwhen = { PixelData = "x" }', "there is no condition PixelData"),
        ('[[forward]]\nto = "pacs"\nwhen = { RequestAttributesSequence = "x" }', "a sequence has no value"),
        ('[[forward]]\nto = "pacs"\nwhen = { Modality = 1 }', "Modality: a text or a list of texts is needed"),
        ('[[forward]]\nto = "pacs"\nwhen = { Modality = [] }', "Modality: a text or a list of texts is needed"),
        ('[[forward]]\nto = "pacs"\nwhen = { SOPClassUID = "CT" }', "neither a UID nor a keyword"),
        ('[[forward]]\nto = "pacs"\nwhen = { origin = "fax" }', "origin: one of dimse, web, import, demo"),
        ('[[forward]]\nto = "pacs"\nback = 1', "back: true or false is needed"),
        ('[[forward]]\nto = "pacs"\ncommit = "yes"', "commit: true or false is needed"),
        ('[[forward]]\nto = "pacs"\n[[forward]]\nto = 1', "forward 2: to: a text"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        rules_of(tmp_path, text)


def test_instances_of_no_patient_go_where_a_rule_says_and_are_announced_to_nobody(tmp_path: Path) -> None:
    protocol = non_patient_entry(HANGING_PROTOCOL, "7.1", x00720002="Mammo")._replace(origin=SCANNER)
    everything = rules_of(tmp_path, '[[forward]]\nto = "pacs"\n')
    assert targets(everything, protocol, ct()) == ["pacs"]
    assert targets(rules_of(tmp_path, '[[forward]]\nto = "pacs"\nwhen = { Modality = "CT" }\n'), protocol) == []
    rule = f'[[forward]]\nto = "ai"\nwhen = {{ SOPClassUID = "{HANGING_PROTOCOL}" }}\n'
    assert targets(rules_of(tmp_path, rule), protocol) == ["ai"]
    peers = (replace(peer, notify=True) for peer in load_peers(tmp_path / "isocenter.toml").values())
    everything.replace(Settings(), (), peers)
    assert targets(everything, protocol) == []
    assert targets(everything, ct()) == ["pacs", "ai"]
