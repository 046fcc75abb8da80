"""Requests reach public addresses only, and a receiver cannot hold the sender."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from app.features.webhooks.service import addresses, client
from app.features.webhooks.service.addresses import AddressRules, ForbiddenAddress
from app.features.webhooks.service.client import WebhookClient
from tests.features.webhooks.receiver import Receiver, receiving, status
from tests.tls_postgres import NAME, write_certificate

PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1",
    "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::a00:1",
    "2001:db8::1", "2002:a00:1::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Sequence[str]]]:
    """Return the answers of the name server: for each name the next ones, the last one forever."""
    names = dict[str, list[Sequence[str]]]()

    async def look_up(name: str) -> Sequence[str]:
        answers = names[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(addresses, "look_up", look_up)
    return names


async def post(receiver: Receiver, host: str = "127.0.0.1", *allowed: str) -> client.Outcome:
    sender = WebhookClient(AddressRules(allowed or ["127.0.0.1"]))
    return await sender.post(f"http://{host}:{receiver.port}/", {}, b"{}")


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_address_is_refused(
    address: str, names: dict[str, list[Sequence[str]]]
) -> None:
    names["hooks.example.com"] = [[address]]
    names["mixed.example.com"] = [["1.1.1.1", address]]
    for host in (address, f"[{address}]", "hooks.example.com"):
        with pytest.raises(ForbiddenAddress):
            await AddressRules().addresses_of(host)
    assert await AddressRules().addresses_of("mixed.example.com") == [ip_address("1.1.1.1")]


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_address_is_accepted(
    address: str, names: dict[str, list[Sequence[str]]]
) -> None:
    names["hooks.example.com"] = [[address]]
    for host in (address, "hooks.example.com"):
        assert await AddressRules().addresses_of(host) == [ip_address(address)]


async def test_localhost_and_names_below_are_loopback_addresses() -> None:
    for host in ("localhost", "LOCALHOST.", "app.localhost"):
        with pytest.raises(ForbiddenAddress):
            await AddressRules().addresses_of(host)
        for address in ("127.0.0.1", "::1"):
            assert await AddressRules([address]).addresses_of(host) == [ip_address(address)]


async def test_allowed_network_is_accepted_in_each_form() -> None:
    rules = AddressRules(["10.0.0.0/8"])
    assert rules.is_allowed(ip_address("10.1.2.3"))
    assert rules.is_allowed(ip_address("::ffff:10.1.2.3"))
    assert not rules.is_allowed(ip_address("192.168.0.1"))


async def test_name_whose_address_has_changed_since_the_check_is_refused(
    receiver: Receiver, names: dict[str, list[Sequence[str]]]
) -> None:
    names["hooks.example.com"] = [["1.1.1.1"], ["127.0.0.1"]]
    rules = AddressRules()
    assert await rules.addresses_of("hooks.example.com")
    url = f"http://hooks.example.com:{receiver.port}/"
    outcome = await WebhookClient(rules).post(url, {}, b"{}")
    assert (outcome.status, outcome.error) == (None, client.NOT_PUBLIC)
    assert receiver.requests == []


async def test_connection_is_made_to_the_address_that_was_checked(
    receiver: Receiver, names: dict[str, list[Sequence[str]]]
) -> None:
    # A second look-up would find another address.
    names["hooks.example.com"] = [["127.0.0.1"], ["192.0.2.1"]]
    outcome = await post(receiver, "hooks.example.com")
    assert outcome.status == 204
    assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"


async def test_next_address_is_tried_when_one_is_not_reached(
    receiver: Receiver, names: dict[str, list[Sequence[str]]]
) -> None:
    names["hooks.example.com"] = [["127.0.0.2", "127.0.0.1"]]
    outcome = await post(receiver, "hooks.example.com", "127.0.0.0/8")
    assert outcome.status == 204


def tls_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of a server that is called NAME, and one of clients that trust it."""
    key, certificate = write_certificate(folder, "server")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


async def test_certificate_is_checked_for_the_name(
    names: dict[str, list[Sequence[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names[NAME] = names["other.example.com"] = [["127.0.0.1"]]
    server, trusted = await asyncio.to_thread(tls_contexts, tmp_path)
    monkeypatch.setattr(client, "tls_context", lambda: trusted)
    sender = WebhookClient(AddressRules(["127.0.0.1"]))
    async with receiving(server) as receiver:
        good, bad = [
            await sender.post(f"https://{name}:{receiver.port}/", {}, b"{}")
            for name in (NAME, "other.example.com")
        ]
        monkeypatch.setattr(client, "tls_context", ssl.create_default_context)
        unknown = await sender.post(f"https://{NAME}:{receiver.port}/", {}, b"{}")
    assert (good.status, good.error) == (204, None)
    assert bad.error == unknown.error == client.NOT_CONNECTED
    assert receiver.server_names[0] == NAME
    assert len(receiver.requests) == 1
    assert receiver.requests[0].headers["host"] == f"{NAME}:{receiver.port}"


async def test_redirect_is_not_followed(receiver: Receiver) -> None:
    async with receiving() as private:
        receiver.responses = [status(307, Location=private.url)]
        outcome = await post(receiver)
    assert outcome.status == 307
    assert not outcome.is_success
    assert private.requests == []


async def test_long_response_is_read_up_to_a_bound(receiver: Receiver) -> None:
    sent = 0
    closed = asyncio.Event()

    async def stream(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 0x10000
                await writer.drain()
        finally:
            closed.set()

    receiver.responses = [stream]
    outcome = await post(receiver)
    assert (outcome.status, outcome.error) == (200, None)
    await closed.wait()
    assert sent < 100_000_000  # What the buffers of the sockets hold, and no more.


async def write_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1")
    await writer.drain()
    await asyncio.Event().wait()


async def write_nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def write_interim_responses(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        await writer.drain()


async def close_at_once(writer: asyncio.StreamWriter) -> None:
    pass


async def write_other_protocol(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("respond", "expected"),
    [
        (write_nothing, (None, client.TIMED_OUT)),
        (write_head, (200, None)),
        (drip_head, (None, client.NO_RESPONSE)),
        (write_interim_responses, (None, client.NO_RESPONSE)),
        (close_at_once, (None, client.NO_RESPONSE)),
        (write_other_protocol, (None, client.NO_RESPONSE)),
    ],
)
async def test_response_that_does_not_end_or_is_none_ends_the_attempt(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    respond: Callable[[asyncio.StreamWriter], object],
    expected: tuple[int | None, str | None],
) -> None:
    if respond in (write_nothing, write_head):
        limit = "TOTAL_SECONDS" if respond is write_nothing else "BODY_SECONDS"
        monkeypatch.setattr(client, limit, 0.2)
    receiver.responses = [respond]  # type: ignore[list-item]  # Each is awaited.
    outcome = await post(receiver)
    assert (outcome.status, outcome.error) == expected


async def test_receiver_that_is_not_there_is_an_outcome(receiver: Receiver) -> None:
    async with receiving() as gone:
        pass
    assert (await post(gone)).error == client.NOT_CONNECTED
    unknown = await post(receiver, "no-such-host.invalid")
    assert unknown.error in (client.UNKNOWN_HOST, client.TIMED_OUT)
