"""HTTP as the server reads it: uvicorn's parser in C, with a bound on what comes before and after a body."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""Of a request's first line and headers, and of what else comes without a byte of a body; beyond it the connection
ends, with status 400 if nothing has been answered yet."""


class BoundedHttp(HttpToolsProtocol):
    """A connection; neither a head nor trailers that do not end are kept in memory for ever."""

    _in_message = False
    _in_head = False
    _progressed = False
    """Was there a piece of a body in what has come, or the end of a request?"""
    _other_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._progressed = False
        super().data_received(data)
        self._other_bytes = self._other_bytes + len(data) if self._in_message and not self._progressed else 0
        if self._other_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._give_up()

    def _give_up(self) -> None:
        if self._in_head:
            self.send_400_response(f"The headers have more than {HEAD_BYTES} bytes.")
        elif not self.cycle.response_started:
            self.send_400_response(f"More than {HEAD_BYTES} bytes came that are not of the body.")
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_message = self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; one that comes after the body, a trailer, means nothing here."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the message."""
        self._in_message, self._progressed = False, True
        super().on_message_complete()
