"""The websocket, which OpenAPI has no word for: it is described as a group without operations."""

from stenograf.openapi.operation import Tag

TAG = Tag(
    "OpenAI Realtime",
    "`GET ws://localhost:8009/v1/realtime?intent=transcription` is OpenAI's Realtime protocol, "
    "transcription only: JSON messages over a websocket, the key as `Authorization`, `X-API-Key`, "
    "or the subprotocol `openai-insecure-api-key.KEY` of browsers.\n\n"
    "| message | |\n"
    "| --- | --- |\n"
    '| `session.update` | `{"session": {"type": "transcription", "audio": {"input": {…}}}}` with '
    '`format` (`{"type": "audio/pcm", "rate": 24000}`: mono, s16le, 8000 to 48000 Hz; '
    "`audio/pcmu`, `audio/pcma`: G.711), `transcription` (`model`, `language`, `prompt`, "
    "`keywords`) and `turn_detection` (`server_vad` with `threshold`, `prefix_padding_ms`, "
    "`silence_duration_ms`; `null`: the client commits); answered by `session.updated` |\n"
    "| `input_audio_buffer.append` | `audio`: samples in Base64 |\n"
    "| `input_audio_buffer.commit`, `.clear` | end the turn, or throw it away; answered by "
    "`.committed`, `.cleared` |\n\n"
    "The service begins with `session.created`, tells `input_audio_buffer.speech_started` and "
    "`.speech_stopped`, and for each turn "
    "`conversation.item.input_audio_transcription.delta` and `.completed` or `.failed`. An `error` "
    "leaves the session open. The older `transcription_session.update` is understood. OpenAI's "
    "JavaScript SDK opens `wss:` only: put a proxy with TLS before the backend for it. "
    "More in [realtime.md](realtime.md).\n\n"
    "```python\n"
    'client = AsyncOpenAI(base_url="SERVER/v1", api_key="none")\n'
    'async with client.realtime.connect(model="whisper-1") as live:\n'
    '    await live.session.update(session={"type": "transcription"})\n'
    "    for piece in pieces_of_pcm:  # 24 kHz, s16le\n"
    "        await live.input_audio_buffer.append(audio=base64.b64encode(piece).decode())\n"
    "    async for event in live:\n"
    '        if event.type == "conversation.item.input_audio_transcription.completed":\n'
    "            print(event.transcript)\n"
    "```",
)
