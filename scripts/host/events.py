"""Messages that a host sends over its websocket. Needs aiohttp, which every host brings."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import aiohttp

Result = TypeVar("Result")


class Events:
    """An open websocket for code that is not asynchronous.

    Its event loop runs in a thread of its own, since the caller's thread may run another one, as
    Playwright's does.
    """

    def __init__(self, url: str):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._session = self._wait_for(_new_session())
        try:
            self._socket = self._wait_for(_connect(self._session, url))
        except BaseException:
            self.close()
            raise

    def receive(self, timeout: float) -> str | None:
        """Return the next text message, or None after `timeout` seconds without one.

        Raises ConnectionError when the host has closed the websocket.
        """
        while True:
            try:
                message = self._wait_for(self._socket.receive(timeout))
            except asyncio.TimeoutError:
                return None
            if message.type is aiohttp.WSMsgType.TEXT:
                return message.data
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ConnectionError("The host closed the websocket.")

    def close(self) -> None:
        self._wait_for(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _connect(session: aiohttp.ClientSession, url: str):
    try:
        return await session.ws_connect(url, max_msg_size=0)
    except aiohttp.ClientError as error:
        raise ConnectionError(f"The host refused a websocket: {error}") from error
