"""Subscriptions and events (PS3.18 sections 11.10 to 11.13, 8.10.4), with another's WebSocket client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import ours
from isocenter.web.site_tokens import issue
from work_objects import CODE, STATION, Model, data_set, performed, state, workitem

GLOBAL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
LOCK = "1.2.826.99.1"
STATE, READINESS = "00741000", "00404041"


class Server:
    """Ours, as its clients see it."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=f"{url}dicomweb", timeout=30)
        self.ws = f"ws{url.removeprefix('http')}dicomweb/subscribers"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, method: str, path: str, model: Model | None = None) -> httpx.Response:
        content = None if model is None else json.dumps(model).encode()
        headers = {"content-type": "application/dicom+json"}
        answer = self.http.request(method, f"/workitems{path}", content=content, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer

    def create(self, uid: str, **values: Any) -> None:
        self.send("POST", f"?workitem={uid}", workitem(**values))

    def subscribe(self, uid: str, aet: str, query: str = "") -> httpx.Response:
        return self.send("POST", f"/{uid}/subscribers/{aet}{query}")

    def channel(self, aet: str, **options: Any) -> ClientConnection:
        return connect(f"{self.ws}/{aet}", proxy=None, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("events") / "data"
    with ours.node(data, archive_minimum_free=0) as node, Server(node.url) as server:
        yield server


def event(channel: ClientConnection) -> tuple[str, int, Model]:
    """UID, Event Type ID and information of the next event, which comes within a while."""
    model = json.loads(channel.recv(timeout=20))
    assert model.pop("00000002")["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]
    assert model.pop("00000110")["vr"] == "US"
    return model.pop("00001000")["Value"][0], model.pop("00001002")["Value"][0], model


def states(channel: ClientConnection, count: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(count):
        uid, kind, information = event(channel)
        assert kind == 1
        found.append((uid, information[STATE]["Value"][0]))
    return found


def test_a_step_is_followed_from_the_subscription_to_its_end(server: Server) -> None:
    server.create("1.1.1")
    with server.channel("WATCHER") as channel:
        answer = server.subscribe("1.1.1", "WATCHER")
        assert answer.status_code == 201
        assert answer.headers["content-location"] == f"{server.ws}/WATCHER"
        assert event(channel) == ("1.1.1", 1, data_set(InputReadinessState="READY", ProcedureStepState="SCHEDULED"))
        server.send(
            "POST", "/1.1.1", data_set(InputReadinessState="INCOMPLETE", ScheduledStationNameCodeSequence=[STATION])
        )
        assert event(channel)[2][READINESS]["Value"] == ["INCOMPLETE"]
        assert event(channel) == ("1.1.1", 5, data_set(ScheduledStationNameCodeSequence=[STATION]))
        server.send("PUT", "/1.1.1/state", state("IN PROGRESS", LOCK))
        assert states(channel, 1) == [("1.1.1", "IN PROGRESS")]
        progress = data_set(ProcedureStepProgressInformationSequence=[{"ProcedureStepProgress": 50}])
        server.send("POST", f"/1.1.1?{LOCK}", progress)
        assert event(channel) == ("1.1.1", 3, progress)
        why = data_set(ReasonForCancellation="wrong side", ContactDisplayName="Dr. Kim")
        server.send("POST", "/1.1.1/cancelrequest", why)
        assert event(channel) == ("1.1.1", 2, {**why, "00741236": {"vr": "AE", "Value": ["ISOCENTER"]}})
        server.send("POST", f"/1.1.1?{LOCK}", performed())
        server.send("PUT", "/1.1.1/state", state("COMPLETED", LOCK))
        assert states(channel, 1) == [("1.1.1", "COMPLETED")]
        server.send("DELETE", "/1.1.1/subscribers/WATCHER")


def test_a_scheduled_step_is_canceled_by_way_of_in_progress(server: Server) -> None:
    server.create("1.2.1")
    with server.channel("CANCELER") as channel:
        server.subscribe("1.2.1", "CANCELER")
        server.send("POST", "/1.2.1/cancelrequest", data_set(ReasonForCancellation="not needed"))
        assert event(channel)[1] == 1
        assert event(channel)[1] == 2
        assert states(channel, 1) == [("1.2.1", "IN PROGRESS")]
        uid, kind, information = event(channel)
        assert (uid, kind, information[STATE]["Value"]) == ("1.2.1", 1, ["CANCELED"])
        assert information["00741238"]["Value"] == ["not needed"]


def test_all_steps_that_are_there_and_come(server: Server) -> None:
    server.create("1.3.1")
    with server.channel("MANAGER") as channel:
        server.subscribe(GLOBAL, "MANAGER", "?deletionlock=true")
        told = dict(states(channel, len(server.http.get("/workitems").json())))
        assert told["1.3.1"] == "SCHEDULED"
        server.create("1.3.2", ScheduledHumanPerformersSequence=[
            {"HumanPerformerCodeSequence": [CODE], "HumanPerformerName": "Kim", "HumanPerformerOrganization": "B"}
        ])  # fmt: skip
        assert states(channel, 1) == [("1.3.2", "SCHEDULED")]
        uid, kind, information = event(channel)
        assert (uid, kind, information["00404036"]["Value"]) == ("1.3.2", 5, ["B"])
        server.send("POST", f"/{GLOBAL}/subscribers/MANAGER/suspend")
        server.create("1.3.3")
        server.send("PUT", "/1.3.2/state", state("IN PROGRESS", LOCK))
        assert states(channel, 1) == [("1.3.2", "IN PROGRESS")]  # what there was is still told, what came is not
        server.send("DELETE", f"/{GLOBAL}/subscribers/MANAGER")
        server.send("PUT", "/1.3.1/state", state("IN PROGRESS", LOCK))
        server.subscribe("1.3.3", "MANAGER")
        assert states(channel, 1) == [("1.3.3", "SCHEDULED")]
        server.send("DELETE", "/1.3.3/subscribers/MANAGER")


@pytest.mark.parametrize("query", ["filter=ScheduledProcedureStepPriority=HIGH,PatientName=Kim*",
                                   "ScheduledProcedureStepPriority=HIGH&PatientName=Kim*"])  # fmt: skip
def test_those_that_fulfil_a_filter(server: Server, query: str) -> None:
    aet = "FILTER_" + query[0].upper()
    prefix = f"1.4.{ord(query[0])}"
    high = {"ScheduledProcedureStepPriority": "HIGH"}
    server.create(f"{prefix}.1", **high, PatientName="Kim^Yuna")
    with server.channel(aet) as channel:
        server.subscribe(FILTERED, aet, f"?deletionlock=true&{query}")
        told = [uid for uid, _ in states(channel, 4 if query[0] == "S" else 1)]
        assert f"{prefix}.1" in told
        server.create(f"{prefix}.2", PatientName="Kim^Yuna")
        server.create(f"{prefix}.3", **high)
        server.create(f"{prefix}.4", **high, PatientName="Kim^Yuna")
        assert states(channel, 1) == [(f"{prefix}.4", "SCHEDULED")]
        server.send("POST", f"/{FILTERED}/subscribers/{aet}/suspend")
        server.create(f"{prefix}.5", **high, PatientName="Kim^Yuna")
        server.subscribe(f"{prefix}.2", aet)
        assert states(channel, 1) == [(f"{prefix}.2", "SCHEDULED")]
        server.send("DELETE", f"/{GLOBAL}/subscribers/{aet}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"/{FILTERED}/subscribers/X", 400),  # a filter is needed
        ("POST", f"/{GLOBAL}/subscribers/X?PatientID=1", 400),
        ("POST", f"/{FILTERED}/subscribers/X?filter=PatientID", 400),
        ("POST", f"/{FILTERED}/subscribers/X?NoSuchKeyword=1", 400),
        ("POST", f"/{GLOBAL}/subscribers/X?deletionlock=yes", 400),
        ("POST", f"/{GLOBAL}/subscribers/SEVENTEEN_LETTERS", 400),
        ("POST", f"/{GLOBAL}/subscribers/a%5Cb", 400),
        ("POST", "/1.9.9/subscribers/X", 404),
        ("DELETE", "/1.9.9/subscribers/X", 404),
        ("POST", f"/{GLOBAL}/subscribers/NOBODY/suspend", 404),
        ("POST", "/1.9.9/subscribers/X/suspend", 400),
        ("DELETE", f"/{FILTERED}/subscribers/NOBODY", 404),
    ],
)
def test_malformed_subscriptions(server: Server, method: str, path: str, status: int) -> None:
    answer = server.http.request(method, f"/workitems{path}")
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_who_asks_for_a_channel(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        server.channel("SEVENTEEN_LETTERS")
    assert refused.value.response.status_code == 400
    for origin, host in (("https://evil.example", None), (None, "evil.example")):
        headers = {"host": host} if host else {}
        with pytest.raises(InvalidStatus) as refused:
            server.channel("WATCHER", origin=origin, additional_headers=headers)
        assert refused.value.response.status_code in (400, 403, 421)
    plain = server.http.get("/subscribers/WATCHER")
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.ws.removesuffix('/subscribers')}/studies", proxy=None)
    assert refused.value.response.status_code in (403, 404)


def test_who_may_listen_and_who_may_subscribe(tmp_path: Path) -> None:
    tokens = {scope: issue(tmp_path / "tokens", scope, [scope])[1] for scope in ("read", "write")}
    settings = {"archive_minimum_free": 0, "web_tokens": str(tmp_path / "tokens")}
    with ours.node(tmp_path / "data", **settings) as node, Server(node.url) as server:
        statuses = {}
        for name, headers in {
            "nobody": {},
            **{scope: {"authorization": f"Bearer {token}"} for scope, token in tokens.items()},
        }.items():
            try:
                with server.channel("WATCHER", additional_headers=headers):
                    statuses[name] = 101
            except InvalidStatus as refused:
                statuses[name] = refused.response.status_code
        assert statuses == {"nobody": 401, "read": 101, "write": 403}
        for method in ("POST", "DELETE"):
            path = f"/workitems/{GLOBAL}/subscribers/WATCHER"
            for scope, wanted in (("read", 403), ("write", 201 if method == "POST" else 200)):
                headers = {"authorization": f"Bearer {tokens[scope]}"}
                assert server.http.request(method, path, headers=headers).status_code == wanted


def test_a_client_that_talks_too_much_is_left(server: Server) -> None:
    with server.channel("TALKER") as channel:
        channel.send("hello")
        channel.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            channel.recv(timeout=20)


def test_two_listen_to_the_same(server: Server) -> None:
    server.create("1.5.1")
    with server.channel("TWICE") as one, server.channel("TWICE") as other:
        server.subscribe("1.5.1", "TWICE")
        assert states(one, 1) == states(other, 1) == [("1.5.1", "SCHEDULED")]


def test_subscriptions_outlive_the_server_and_locks_keep_steps(tmp_path: Path) -> None:
    settings = {"archive_minimum_free": 0, "work_keep": 0.0}
    with ExitStack() as clients:
        with ours.node(tmp_path / "data", **settings) as node:
            server = clients.enter_context(Server(node.url))
            for uid in ("1.1", "1.2"):
                server.create(uid)
            server.subscribe("1.1", "KEEPER", "?deletionlock=true")
            server.subscribe("1.2", "KEEPER")
            channel = clients.enter_context(server.channel("KEEPER"))
            for uid in ("1.1", "1.2"):
                server.send("POST", f"/{uid}/cancelrequest")
            # that it is wished, and two changes of state
            assert [event(channel)[0] for _ in range(6)] == ["1.1"] * 3 + ["1.2"] * 3
        with pytest.raises(ConnectionClosed) as ended:
            channel.recv(timeout=20)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code in (1001, 1012)  # the server says that it goes
    with (
        ours.node(tmp_path / "data", **settings) as node,
        Server(node.url) as server,
        server.channel("KEEPER") as channel,
    ):
        uid, kind, information = event(channel)
        assert (uid, kind, information["00741244"]["Value"]) == (GLOBAL, 4, ["WARM START"])
        for number in range(40):  # old steps go when new ones come
            server.create(f"2.{number}")
        assert server.http.get("/workitems/1.2").status_code == 404
        assert server.http.get("/workitems/1.1").status_code == 200
        server.send("DELETE", "/1.1/subscribers/KEEPER")
        for number in range(40, 80):
            server.create(f"2.{number}")
        assert server.http.get("/workitems/1.1").status_code == 404
