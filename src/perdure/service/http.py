"""HTTP as the server reads it: uvicorn's parser in C, with a bound on what comes before a body."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""Of a request's first line and headers; beyond it the connection ends with status 400."""


class BoundedHttp(HttpToolsProtocol):
    """A connection; a head that does not end is not kept in memory for ever."""

    _in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The headers have more than {HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End it."""
        self._in_head = False
        super().on_headers_complete()
