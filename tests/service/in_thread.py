"""A server in a thread of this process, on a port of its own."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import uvicorn

from perdure.service.http import BoundedHttp


class InThread:
    """A server and a connection to it."""

    def __init__(self, app):
        self.app = app
        how = {"http": BoundedHttp, "lifespan": "on", "log_config": None, "ws": "none", "server_header": False}
        self.config = uvicorn.Config(app, port=0, **how)
        self.server = uvicorn.Server(self.config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self.app.context.stop_requested = lambda: self.server.should_exit
        await self.server.serve()

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=600.0)
        while self.http.get("/readyz").status_code == 503:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.http.close()
        self.server.should_exit = True
        self.thread.join()

    def call(self, function, *arguments):
        """Call an async function in the server's loop; return what waits for its result."""
        return asyncio.run_coroutine_threadsafe(function(*arguments), self.loop)
