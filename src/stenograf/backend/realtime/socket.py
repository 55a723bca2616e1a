"""The websocket of uvicorn, with an end."""

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_LINGER_S = 15.0


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Drops a connection whose conversation is over, also if the client never reads the rest."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send; a refusal completes the handshake too, which uvicorn would log as an error."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """Run the conversation."""
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(_LINGER_S, self.transport.abort)
