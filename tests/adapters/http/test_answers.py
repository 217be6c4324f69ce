"""What a backend answers instead of what it was asked for."""

import asyncio
import datetime
import email.utils
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato_adapters.http import ApiError, Busy, Call, Denied, HttpClient, NoAnswer, NotSent, Refused, base_url
from legato_adapters.http.answers import seconds_to_wait
from tests.support.bad_answers import SECRET, SENSELESS
from tests.support.http_backend import HttpBackend, answer, never
from tests.support.http_proxy import Reply, lose_request

FINE = Reply(b'{"id": "1"}')


async def test_an_answer(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("GET", answer(Reply(b'{"id": "\xc3\xa4"}', headers={"content-type": "application/scim+json"})))
    got = await client.read(call, "GET", "/things/{id}", parts={"id": "a/b ?#ä"}, query={"q": "ä &=", "n": 2})
    assert got.object == {"id": "ä"}
    assert backend.seen == ["GET /things/a/b ?#ä"]
    assert backend.requests[0]["query"] == [("q", "ä &="), ("n", "2")]
    assert not call.touched


async def test_what_is_sent(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    await client.write(call, "POST", "/json", json={"a": [1, None, "ä"]}, headers={"X-One": "1"})
    await client.write(call, "POST", "/form", form=[("a", "1"), ("a", "ä&")])
    assert json.loads(backend.requests[0]["body"]) == {"a": [1, None, "ä"]}
    assert backend.requests[0]["headers"]["X-One"] == "1"
    assert backend.requests[1]["body"] == "a=1&a=%C3%A4%26"
    assert call.touched


async def test_no_content(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("DELETE", answer(Reply(b"", 204, {})))
    assert (await client.write(call, "DELETE", "/things/1")).data is None


@pytest.mark.parametrize("part", ["", ".", ".."])
async def test_a_name_that_would_lead_elsewhere(
    backend: HttpBackend, client: HttpClient, call: Call, part: str
) -> None:
    with pytest.raises(Refused) as caught:
        await client.read(call, "GET", "/things/{id}", parts={"id": part})
    assert caught.value.status == 404
    assert not backend.seen


@pytest.mark.parametrize("name", SENSELESS)
async def test_a_senseless_answer(
    backend: HttpBackend, client: HttpClient, call: Call, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="legato_adapters")
    backend.on("POST", answer(SENSELESS[name]))
    with pytest.raises(NoAnswer) as caught:
        await client.write(call, "POST", "/things", json={"secret": SECRET}, query={"key": SECRET})
    assert call.touched
    assert backend.count("POST") == 1, "what may have had its effect is not sent again"
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    # The pool is as good as before.
    backend.on("GET", answer(FINE))
    assert (await client.read(call, "GET", "/things")).object == {"id": "1"}


@pytest.mark.parametrize("name", SENSELESS)
async def test_a_senseless_answer_to_a_read(backend: HttpBackend, client: HttpClient, call: Call, name: str) -> None:
    backend.always("GET", answer(SENSELESS[name]))
    with pytest.raises(NoAnswer):
        await client.read(call, "GET", "/things")
    assert not call.touched
    assert backend.count("GET") == (2 if name in {"cut off", "HTML 502"} else 1)


async def test_100_mb_are_not_read_to_their_end(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("GET", answer(SENSELESS["100 MB"]))
    with pytest.raises(NoAnswer, match="more than 8388608 bytes"):
        await client.read(call, "GET", "/things")
    await backend.until_idle()


@pytest.mark.parametrize("data", [b"[]", b"null", b'"x"', b"1"])
async def test_json_that_is_no_object(backend: HttpBackend, client: HttpClient, call: Call, data: bytes) -> None:
    backend.on("GET", answer(Reply(data)))
    got = await client.read(call, "GET", "/things")
    with pytest.raises(NoAnswer, match="no object"):
        _ = got.object


@pytest.mark.parametrize("status", [400, 402, 403, 404, 409, 412, 422, 423])
async def test_a_refusal(backend: HttpBackend, client: HttpClient, call: Call, status: int) -> None:
    backend.on("POST", answer(Reply(b'{"code": "swordfish"}', status)))
    with pytest.raises(Refused) as caught:
        await client.write(call, "POST", "/things")
    assert (caught.value.status, caught.value.said) == (status, {"code": SECRET})
    assert SECRET not in str(caught.value)
    assert not call.touched, "a refusal had no effect"


async def test_a_refusal_without_json(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("POST", answer(Reply(b"<html>swordfish</html>", 403, {"content-type": "text/html"})))
    with pytest.raises(Refused) as caught:
        await client.write(call, "POST", "/things")
    assert caught.value.said == {}


async def test_denied(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("POST", answer(Reply(b"", 401, {})))
    with pytest.raises(Denied):
        await client.write(call, "POST", "/things")
    assert not call.touched


# Rate limits


async def test_busy(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("POST", answer(Reply(b"swordfish", 429, {"retry-after": "7"})))
    with pytest.raises(Busy) as caught:
        await client.write(call, "POST", "/things")
    assert caught.value.retry_after == 7
    assert backend.count("POST") == 1
    assert not call.touched


async def test_busy_without_a_hint(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("POST", answer(Reply(b"", 429, {})))
    with pytest.raises(Busy) as caught:
        await client.write(call, "POST", "/things")
    assert caught.value.retry_after is None


@pytest.mark.parametrize("hint", ["0", "1"])
async def test_a_short_wait_is_borne_once(backend: HttpBackend, client: HttpClient, call: Call, hint: str) -> None:
    backend.on("POST", answer(Reply(b"", 429, {"retry-after": hint})))
    await client.write(call, "POST", "/things")
    backend.always("POST", answer(Reply(b"", 429, {"retry-after": "0"})))
    with pytest.raises(Busy):
        await client.write(call, "POST", "/things")
    assert backend.count("POST") == 4


async def test_no_wait_beyond_the_deadline(backend: HttpBackend, client: HttpClient) -> None:
    backend.always("POST", answer(Reply(b"", 429, {"retry-after": "1"})))
    with pytest.raises(Busy):
        await client.write(Call.within(1.9), "POST", "/things")
    assert backend.count("POST") == 1


def test_retry_after() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    seconds = seconds_to_wait(email.utils.format_datetime(soon, usegmt=True))
    assert seconds is not None
    assert 90 < seconds <= 100
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_to_wait(" 120 ") == 120


@given(st.text())
def test_any_retry_after(text: str) -> None:
    seconds = seconds_to_wait(text)
    assert seconds is None or seconds >= 0


# Lost requests and answers


async def test_nobody_listens() -> None:
    async with HttpBackend() as gone:
        url = gone.url
    client, call = HttpClient("shop", url), Call.within(30)
    await client.open()
    with pytest.raises(NotSent):
        await client.write(call, "POST", "/things")
    assert not call.touched
    await client.close()


async def test_the_deadline_has_passed(backend: HttpBackend, client: HttpClient) -> None:
    call = Call.within(-1)
    with pytest.raises(NotSent):
        await client.write(call, "POST", "/things")
    assert not call.touched
    assert not backend.seen


async def test_never_answering(backend: HttpBackend, client: HttpClient) -> None:
    backend.always("", never)
    for attempt in (client.read, client.write):
        call = Call.within(0.3)
        with pytest.raises(NoAnswer) as caught:
            await attempt(call, "POST", "/things")
        assert caught.value.timed_out
    assert backend.count("") == 2
    await backend.until_idle()


async def test_a_caller_who_goes_away(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.always("", never)
    task = asyncio.create_task(client.write(call, "POST", "/things"))
    await backend.until_seen("POST")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await backend.until_idle()


async def test_a_broken_connection(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    backend.on("GET", lose_request)
    await client.read(call, "GET", "/things")
    assert backend.count("GET") == 2, "a read is sent again"
    backend.on("POST", lose_request)
    await client.write(call, "POST", "/keyed", keyed=True)
    assert backend.count("POST /keyed") == 2, "a keyed write is sent again"
    backend.on("POST", lose_request)
    with pytest.raises(NoAnswer):
        await client.write(call, "POST", "/plain")
    assert backend.count("POST /plain") == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_plain_write_is_not_repeated_by_the_http_library(
    backend: HttpBackend, client: HttpClient, call: Call, method: str
) -> None:
    await client.read(call, "GET", "/things")  # The connection that breaks must be one that was used before.
    backend.on(method, lose_request)
    with pytest.raises(NoAnswer):
        await client.write(call, method, "/things/1")
    assert backend.count(method) == 1


async def test_errors_that_are_none_of_http(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    with pytest.raises(ApiError):
        await client.write(call, "POST", "/x", headers={"X-Large": "x" * 100_000})


@pytest.mark.parametrize(
    "url",
    ["", "shop.example", "ftp://shop.example", "http://", "http://u:p@x/", "http://x/?a", "http://x/#a", "http://x:y"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="url must be"):
        base_url(url)
    assert base_url("https://shop.example/api/") == "https://shop.example/api"
