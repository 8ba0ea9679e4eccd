"""What a price look-up costs beside an empty handler of the same server; prints µs a request, each one kept alive.

Run: python -m tests.bench.lookup
"""

import asyncio
import time

from aiohttp import web

from ledgerd.web.app import create_app
from tests.prices import DIVINE, MARKET, World, gold

REQUESTS = 4_000
ROUNDS = 5
CURRENCIES = 500


async def empty(_request):
    return web.Response()


async def serve(app):
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


async def cost_us(port, path, requests, headers=""):
    """Mean µs from request to the whole answer, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()
    began_s = time.perf_counter()
    for _ in range(requests):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        _, found, rest = head.partition(b"Content-Length: ")
        await reader.readexactly(int(rest.partition(b"\r\n")[0]) if found else 0)
    took_s = time.perf_counter() - began_s
    writer.close()
    await writer.wait_closed()
    return took_s / requests * 1e6, head


async def main():
    others = [gold(f"Metadata/Items/Currency/Other{number}", value_traded_24h=number) for number in range(CURRENCIES)]
    world = World([*MARKET, *others])
    await world.load()
    bare = web.Application()
    bare.router.add_get("/", empty)
    runners = [await serve(bare), await serve(create_app(world.deps()))]
    (_, bare_port), (_, port) = runners
    _, head = await cost_us(port, "/v1/pc/Mirage/currency", 1)
    etag = next(line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.startswith(b"ETag"))
    copy = f"If-None-Match: {etag}\r\n"
    cases = {
        "empty handler": (bare_port, "/", REQUESTS, ""),
        "healthz": (port, "/healthz", REQUESTS, ""),
        "one price by tag": (port, "/v1/pc/Mirage/currency/divine", REQUESTS, ""),
        "one price by id": (port, f"/v1/pc/Mirage/currency/{DIVINE}", REQUESTS, ""),
        f"{CURRENCIES + 4} prices": (port, "/v1/pc/Mirage/currency", REQUESTS // 20, ""),
        f"{CURRENCIES + 4} prices, 304": (port, "/v1/pc/Mirage/currency", REQUESTS // 4, copy),
        "misspelt currency, 404": (port, "/v1/pc/Mirage/currency/divin", REQUESTS // 40, ""),
        "status": (port, "/status", REQUESTS, ""),
    }
    best = {name: min([(await cost_us(*case))[0] for _ in range(ROUNDS)]) for name, case in cases.items()}
    for name, took_us in best.items():
        print(f"{name:28} {took_us:9.0f} µs   {best['empty handler'] / took_us:5.2f} of the empty handler's rate")
    for runner, _ in runners:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
