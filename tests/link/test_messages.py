"""Each message survives the way over the wire; what is no message is refused by name."""

import json
from typing import Any

import pytest

from vestibule.link import messages
from vestibule.link.frame import LinkError
from vestibule.link.messages import Assets, KeyPair, Message, from_json


def full_assets() -> Assets:
    assets = Assets()
    assets.certificates = {"photos": KeyPair("CHAIN", "KEY")}
    assets.authorities = {"ca.pem": "CA"}
    assets.revocations = {"crl.pem": "CRL"}
    assets.client_certificates = {"immich": KeyPair("MINE", "MY KEY")}
    assets.addresses = {"immich": ["172.18.0.2", "fd00::2"], "gone": []}
    assets.ticket_key = "ab" * 80
    assets.mark_key = "cd" * 32
    assets.listeners = {"http": [0], "https": [1, 2]}
    assets.logs = {"access.log": 3}
    return assets


EVERY: list[Message] = [
    messages.Prepare(7, '{"sites":[]}', full_assets(), [10, 11, 12, 13]),
    messages.Commit(7),
    messages.Abort(7),
    messages.Addresses({"immich": ["::1"]}),
    messages.Servers({"u 192.0.2.1:80": messages.ServerState(False, "drain", 7), "u [::1]:80": messages.ServerState(True, "", -1, 30)}),
    messages.Certificates({"acme:photos": messages.KeyPair("chain", "key")}),
    messages.Demanded({"a.example": messages.KeyPair("chain", "key")}, {"b.example": 60_000}),
    messages.Challenges({"token": "token.thumbprint"}, {"a.example": messages.KeyPair("chain", "key")}),
    messages.Collect(),
    messages.Pages({"html True": "text/html\n<p>"}),
    messages.Counts({"sites": {"a": {"ended": 1}}}, {"process": {"connections": 1}}),
    messages.Stop(30_000),
    messages.StopNow(),
    messages.ReopenLogs({"access.log": 0}, [10]),
    messages.StatusRequest(3),
    messages.Hello(42, True),
    messages.Ready(7),
    messages.Refused(7, ["no", "not at all"]),
    messages.Status(3, {"connections": 5, "pools": {"immich": {"idle": 1}}}),
    messages.Event("warning", "upstream.refused", "it is down", {"upstream": "immich"}),
    messages.Asked("a.example"),
    messages.Sought("a.example"),
    messages.Drained(),
]


@pytest.mark.parametrize("message", EVERY, ids=lambda each: type(each).__name__)
def test_round_trip(message: Message) -> None:
    wire = json.loads(json.dumps(message.to_json()))
    back = from_json(wire, message.fds)
    assert type(back) is type(message)
    assert back.to_json() == message.to_json()
    assert back.fds == message.fds


def test_every_message_is_in_the_list() -> None:
    classes = {each for each in vars(messages).values() if isinstance(each, type) and issubclass(each, Message)} - {Message}
    assert classes == {type(each) for each in EVERY}


def prepare(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(EVERY[0].to_json()))
    data.update(changes)
    return data


def assets(**changes: Any) -> dict[str, Any]:
    return {**full_assets().to_json(), **changes}


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({}, "message.type"),
        ({"type": "dance"}, "message.type: `dance`"),
        ({"type": 5}, "message.type"),
        ({"type": "commit"}, "commit.generation"),
        ({"type": "commit", "generation": True}, "commit.generation"),
        ({"type": "commit", "generation": "1"}, "commit.generation"),
        ({"type": "hello", "pid": 1, "compiled": 1}, "hello.compiled"),
        ({"type": "refused", "generation": 1, "reasons": "no"}, "refused.reasons"),
        ({"type": "refused", "generation": 1, "reasons": [1]}, "refused.reasons"),
        ({"type": "event", "level": "loud", "kind": "", "text": "", "details": {}}, "event.level"),
        ({"type": "event", "level": "info", "kind": "", "text": "", "details": {"a": 1}}, "event.details.a"),
        ({"type": "addresses", "names": []}, "addresses.names"),
        ({"type": "servers", "states": {"a": True}}, "servers.states.a: an object"),
        ({"type": "servers", "states": {"a": {"up": True, "mode": "asleep", "weight": 1}}}, "servers.states.a.mode: `asleep`"),
        ({"type": "addresses", "names": {"a": "::1"}}, "addresses.names.a"),
        ({"type": "reopen_logs", "logs": {"a": 1}}, "reopen_logs.logs"),
        (prepare(model=None), "prepare.model"),
        (prepare(assets=[]), "prepare.assets"),
        (prepare(assets=assets(listeners={"http": [4]})), "assets.listeners.http: descriptor 4 of 4"),
        (prepare(assets=assets(listeners={"http": 0})), "assets.listeners.http"),
        (prepare(assets=assets(logs={"a": -1})), "assets.logs"),
        (prepare(assets=assets(certificates={"a": "PEM"})), "assets.certificates.a"),
        (prepare(assets=assets(certificates={"a": {"chain_pem": "x"}})), "assets.certificates.a.key_pem"),
        (prepare(assets=assets(ticket_key=None)), "assets.ticket_key"),
    ],
)
def test_what_is_no_message_is_refused_by_name(data: dict[str, Any], place: str) -> None:
    fds = [10, 11, 12, 13] if data.get("type") == "prepare" else []
    with pytest.raises(LinkError) as caught:
        from_json(data, fds)
    assert str(caught.value).startswith(place)


def test_descriptors_with_a_message_that_takes_none() -> None:
    with pytest.raises(LinkError, match="commit: 1 descriptors"):
        from_json({"type": "commit", "generation": 1}, [10])
