"""Others' archives report to a running node's own port: on what it forwarded, and on what the command has it ask."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import ours
from command import isocenter
from interop.test_storage_commitment_peers import files, pynetdicom_archive, stored, until
from isocenter.archive.routing import Rule
from isocenter.dimse.commitment_request import COMMITMENT_REQUEST
from isocenter.index.sql import jobs_beside
from isocenter.known_peers import KnownPeer
from isocenter.net.address import parse_address
from peers import free_port, orthanc

pytestmark = pytest.mark.interop

NOW = {"jobs_retry_first": 0.05, "jobs_retry_longest": 0.2, "jobs_interval": 0.05, "commitment_hold": 0.0}


@pytest.mark.interop(service="Storage Commitment of forwarded objects", peer="Orthanc", role="SCU")
def test_orthanc_reports_on_what_was_forwarded_to_it(tmp_path: Path) -> None:
    port = free_port()
    made = files(tmp_path / "files", 3)
    lost = made[1][1][1]
    with orthanc(tmp_path / "orthanc", modalities={"isocenter": ("ISOCENTER", port)}) as peer:
        to = KnownPeer("orthanc", "ORTHANC", "127.0.0.1", peer.port)  # type: ignore[arg-type]
        rows = {**NOW, "dimse_port": port, "commitment_ask_after": 3.0}
        with ours.node(tmp_path / "data", peers=[to], rules=[Rule(to, commit=True)], **rows) as node:
            stored(node.address, [path for path, _ in made])
            there = until(lambda: len(found := peer.request("/instances")) == 3 and found)
            for one in there:
                if peer.request(f"/instances/{one}/tags?simplify")["SOPInstanceUID"] == lost:
                    peer.request(f"/instances/{one}", method="DELETE")
            assert 2 == len(peer.request("/instances"))

            def over() -> Any:
                jobs = asyncio.run(node.archive.jobs.listed())
                asked = [job for job in jobs if job.kind == COMMITMENT_REQUEST]
                return asked if asked and {job.state for job in asked} <= {"done", "failed"} else None

            (job,) = until(over)
        assert ("failed", 3, 2, 1) == (job.state, job.total, job.done, job.failed)
        shown = isocenter("jobs", "show", str(job.id), "--data", tmp_path / "data", "--json")
    assert [{"uid": lost, "why": "0112 No such object instance"}] == json.loads(shown.stdout)["failures"]


@pytest.mark.interop(service="Storage Commitment", peer="pynetdicom", role="SCU")
def test_the_command_has_the_archive_ask_and_hear(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    made = files(tmp_path / "files", 3)
    config = tmp_path / "isocenter.toml"
    with pynetdicom_archive(port) as address:
        there = parse_address(address)
        known = KnownPeer("py", there.aet, there.host, there.port)
        config.write_text(f'[[peer]]\nname = "py"\naet = "{there.aet}"\nhost = "{there.host}"\nport = {there.port}\n')
        command = ("commit", "py", *(path for path, _ in made), "--config", config, "--archive", data, "--json")
        with ours.node(data, peers=[known], dimse_port=port, **NOW):
            done = isocenter(*command, "--wait", "4")
    assert 1 == done.returncode, done.stderr
    lines = list(map(json.loads, done.stdout.splitlines()))
    assert [uid for _, (_, uid) in made] == [line["sop_instance"] for line in lines]
    assert [True, True, False] == [line["committed"] for line in lines]
    # A reason that is to pass: the archive goes on without the command.
    assert "not committed yet: 0213 Resource limitation" in lines[2]["why_not"]
    with jobs_beside(data / "index.sqlite") as rows:
        (job,) = rows.listed()
    assert ("waiting", 3, 2, 0) == (job.state, job.total, job.done, job.failed)


def test_the_command_says_what_cannot_go_together(tmp_path: Path) -> None:
    file = files(tmp_path / "files", 1)[0][0]
    for options, why in (
        (["--archive", tmp_path], "name of a [[peer]]"),
        (["--archive", tmp_path, "--listen", "127.0.0.1:1"], "one of them"),
    ):
        done = isocenter("commit", "PACS@127.0.0.1:1", file, *options)
        assert 2 == done.returncode
        assert why in done.stderr
