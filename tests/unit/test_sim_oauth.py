"""The stand-in's OAuth: tokens as the documentation has them, and RFC 6749's errors."""

import aiohttp
import orjson
import pytest

from tests.simriver import AGENT, CLIENT, GRANT, SMALL, river


async def asked(client, **kwargs):
    answer = await client.send("POST", "/oauth/token", authorized=False, **kwargs)
    return answer.status, orjson.loads(answer.body)


async def test_a_service_token_does_not_expire():
    async with river(granted=False) as client:
        status, body = await asked(client, data=GRANT)

    assert status == 200
    assert set(body) == {"access_token", "expires_in", "token_type", "username", "sub", "scope"}
    assert (body["expires_in"], body["token_type"], body["scope"]) == (None, "bearer", "service:psapi")


async def test_the_client_may_say_who_it_is_in_the_header():
    basic = aiohttp.BasicAuth("ledgerd", "stand-in").encode()
    form = {"grant_type": "client_credentials", "scope": "service:psapi"}
    async with river(granted=False) as client:
        assert (await asked(client, data=form, headers={"Authorization": basic}))[0] == 200
        assert (await asked(client, data=form, headers={"Authorization": "Basic %%%"}))[0] == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({**GRANT, "client_secret": "no"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "scope": "service:psapi"}, 401, "invalid_client"),
        ({**GRANT, "grant_type": "password"}, 400, "unsupported_grant_type"),
        (CLIENT, 400, "invalid_request"),
        ({**GRANT, "scope": "account:stashes"}, 400, "invalid_scope"),
        ({**GRANT, "scope": ""}, 400, "invalid_scope"),
        ("grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
    ],
)
async def test_refusals_are_those_of_rfc_6749(form, status, error):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with river(granted=False) as client:
        found = await asked(client, data=form, headers=kind)
        state = await client.sim("state")

    assert (found[0], found[1]["error"]) == (status, error)
    assert set(found[1]) == {"error", "error_description"}
    assert state["river"]["invalid_requests"] == {"total": 1, "oauth": 1}


async def test_a_json_body_is_an_invalid_request():
    async with river(granted=False) as client:
        status, body = await asked(client, json=GRANT)

    assert (status, body["error"]) == (400, "invalid_request")


async def test_without_a_good_token_there_is_a_401_that_says_nothing_of_limits():
    async with river(granted=False, **SMALL) as client:
        bare = await client.page()
        client.token = "f" * 40
        wrong = await client.page()

    for answer in (bare, wrong):
        assert (answer.status, orjson.loads(answer.body)) == (401, {"error": "invalid_token"})
        assert not any(name.lower().startswith("x-rate-limit") for name in answer.headers)


async def test_tokens_end_on_order_and_a_new_one_works():
    async with river(**SMALL) as client:
        statuses = [(await client.page()).status]
        await client.sim("tokens", {})
        statuses.append((await client.page()).status)
        await client.grant()
        statuses.append((await client.page()).status)

    assert statuses == [200, 401, 200]


async def test_a_revoked_token_is_no_token_and_revoking_again_is_no_error():
    async with river(**SMALL) as client:
        form = {**CLIENT, "token": client.token}
        revoked = [(await client.send("POST", "/oauth/token/revoke", data=form)).status for _ in (1, 2)]
        stranger = await client.send("POST", "/oauth/token/revoke", data={"token": client.token})
        after = (await client.page()).status

    assert (revoked, stranger.status, after) == ([200, 200], 401, 401)


async def test_a_token_of_another_scope_is_forbidden_and_counted_by_the_limit():
    async with river(granted=False, **SMALL) as client:
        await client.grant(scope="service:cxapi")
        answer = await client.page()

    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (403, 6)
    assert answer.headers["X-Rate-Limit-Ip-State"] == "1:1:0"


async def test_the_leagues_want_a_scope_of_their_own():
    async with river() as client:
        refused = await client.send("GET", "/league")
        await client.grant(scope="service:psapi service:leagues")
        given = await client.send("GET", "/league?realm=pc&type=main")

    leagues = orjson.loads(given.body)["leagues"]
    assert (refused.status, given.status) == (403, 200)
    assert [league["id"] for league in leagues] == ["Standard", "Allflame", "Hardcore Allflame"]


async def test_the_token_endpoint_has_the_observed_limit():
    async with river(granted=False) as client:
        statuses = [(await client.grant()).status for _ in range(61)]
        client.clock.jump(31)
        later = await client.grant()

    assert statuses == [200] * 60 + [429]
    assert later.headers["X-Rate-Limit-Ip"] == "60:30:30"


async def test_wrong_user_agents_are_counted():
    async with river(**SMALL) as client:
        await client.page(headers={"User-Agent": "curl/8"})
        await client.page()
        state = await client.sim("state")

    assert AGENT.startswith("OAuth ledgerd/")
    assert state["river"]["user_agents_wrong"] == 1
