import asyncio
import threading
from collections.abc import Iterator

import pytest
from aiohttp import WSMsgType, web
from host.events import Events

LENGTHS = (0, 5, 125, 126, 127, 65535, 65536, 300_000)


async def _talk(request: web.Request) -> web.WebSocketResponse:
    peer = web.WebSocketResponse(autoping=False)
    await peer.prepare(request)
    for length in LENGTHS:
        await peer.send_bytes(b"preview")
        await peer.send_str("x" * length)
    await peer.ping(b"still there?")
    pong = await peer.receive(timeout=10)
    await peer.send_str("pong" if (pong.type, pong.data) == (WSMsgType.PONG, b"still there?") else repr(pong))
    await asyncio.sleep(0.5)
    await peer.close()
    return peer


@pytest.fixture
def port() -> Iterator[int]:
    """A port where aiohttp, which the host serves with, answers websockets."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    app = web.Application()
    app.router.add_get("/ws", _talk)
    runner = web.AppRunner(app, shutdown_timeout=1)

    async def serve() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()))
    thread.start()
    ready.wait(10)
    yield runner.addresses[0][1]
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_messages_of_every_length_arrive_in_order_and_pings_are_answered(port: int):
    events = Events(f"http://127.0.0.1:{port}/ws")
    assert [len(events.receive(10) or "") for _ in LENGTHS] == list(LENGTHS)
    assert events.receive(10) == "pong"
    assert events.receive(0.05) is None
    with pytest.raises(ConnectionError, match="closed"):
        events.receive(10)
    events.close()


def test_a_path_without_a_websocket_is_refused(port: int):
    with pytest.raises(ConnectionError, match="404"):
        Events(f"http://127.0.0.1:{port}/nothing")
