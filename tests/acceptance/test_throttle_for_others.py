"""A job beside the daemon, on the same address and the same policy: its turns and ours keep the limits together."""

import aiohttp
import pytest

from tests.daemon import TEST_S, daemon, upstream
from tests.simriver import AGENT, CLIENT, GRANT

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

REALMS = [{"name": "pc", "exchange": False, "river": True}]
REQUESTS = 8
KEYED = {"X-API-Key": CLIENT["client_secret"]}
"""The one secret file there is holds the key, too."""


class Job:
    """Asks the river as a tool of somebody else's would, with turns from the daemon behind ``socket``."""

    def __init__(self, socket, upstream_url):
        self.ours = aiohttp.ClientSession("http://ledgerd", connector=aiohttp.UnixConnector(str(socket)))
        self.theirs = aiohttp.ClientSession(upstream_url, headers={"User-Agent": AGENT})
        self.statuses = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.ours.close()
        await self.theirs.close()

    async def throttle(self, path="", **body):
        send = self.ours.post if path else self.ours.get
        async with send(f"/v1/throttle{path}", headers=KEYED, **({"json": body} if path else {})) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def grant(self):
        async with self.theirs.post("/oauth/token", data=GRANT) as response:
            return f"Bearer {(await response.json())['access_token']}"

    async def ask(self, change_id, bearer):
        """One page, when it is its turn; what came of it reported."""
        lease = None
        while lease is None:
            lease = (await self.throttle("/acquire", endpoint="river-pc", wait_s=10))["lease"]
        query = {"id": change_id}
        async with self.theirs.get("/public-stash-tabs", params=query, headers={"Authorization": bearer}) as response:
            self.statuses.append(response.status)
            headers = {name: value for name, value in response.headers.items() if name.startswith("X-Rate-Limit-")}
            await self.throttle("/report", lease=lease, status=response.status, headers=headers)


async def test_a_job_and_the_daemon_take_turns_and_nobody_is_refused():
    async with upstream(river_rate=30.0) as stand_in:
        head = (await stand_in.get("state"))["river"]["head"]["pc"]
        settings = {"realms": [{**REALMS[0], "river_from": head}], "upstream__river_poll_s": 0.05}
        async with daemon(stand_in.url, throttle__api_key_file="secret", **settings) as ledgerd:
            await ledgerd.start()
            await ledgerd.wait("a page", lambda: answers(stand_in))
            async with Job(ledgerd.data_dir / "ledgerd.sock", stand_in.url) as job:
                before, bearer = await answers(stand_in), await job.grant()
                for _ in range(REQUESTS):
                    await job.ask(head, bearer)
                [policy] = [each for each in (await job.throttle())["policies"] if "river-pc" in each["endpoints"]]
            state = (await stand_in.get("state"))["river"]

            assert job.statuses == [200] * REQUESTS
            assert (state["bans"], state["invalid_requests"]["total"]) == (0, 0)
            assert state["answers"] - before >= REQUESTS + 2, "the daemon had turns, too"
            assert (policy["limits"][0]["hits"], policy["limits"][0]["period_s"]) == (2, 1)
            assert await ledgerd.stop() == 0


async def answers(stand_in):
    return (await stand_in.get("state"))["river"]["answers"]
