"""The websocket of uvicorn, with an end."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_LINGER_S = 15.0


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Drops a connection whose conversation is over, also if the client never reads the rest."""

    async def run_asgi(self) -> None:
        """Run the conversation."""
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(_LINGER_S, self.transport.abort)
