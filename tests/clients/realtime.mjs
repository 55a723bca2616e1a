// Live transcription with two JavaScript clients: node realtime.mjs SERVER PCM KEY CERTIFICATE
// PCM is s16le mono at 24 kHz. Prints one JSON object with the texts. OpenAI's SDK speaks TLS whatever
// the address says, so a proxy with the given key and certificate stands before the server for it.
import fs from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_streamTranscribe as streamTranscribe } from "ai";
import OpenAI from "openai7";
import { OpenAIRealtimeWS } from "openai7/realtime/ws";
import WebSocket from "ws";

const [server, path, keyPath, certificatePath] = process.argv.slice(2);
const pcm = fs.readFileSync(path);
const format = { type: "audio/pcm", rate: 24000 };
const TENTH = 4800; // bytes of 0.1 s

function* pieces() {
  for (let at = 0; at < pcm.length; at += TENTH) yield pcm.subarray(at, at + TENTH);
}

function proxy() {
  const { hostname, port } = new URL(server);
  const identity = { key: fs.readFileSync(keyPath), cert: fs.readFileSync(certificatePath) };
  const listener = tls.createServer(identity, (socket) => {
    const behind = net.connect(Number(port), hostname);
    socket.pipe(behind).pipe(socket);
    for (const end of [socket, behind]) end.on("error", () => {});
  });
  return new Promise((resolve) => listener.listen(0, "127.0.0.1", () => resolve(listener)));
}

async function sdk() {
  const listener = await proxy();
  const baseURL = `https://127.0.0.1:${listener.address().port}/v1`;
  const client = new OpenAI({ baseURL, apiKey: "none" });
  const live = new OpenAIRealtimeWS({ model: "gpt-4o-transcribe" }, client);
  const events = [];
  live.on("event", (event) => events.push(event.type));
  const text = await new Promise((resolve, reject) => {
    live.on("error", reject);
    live.on("conversation.item.input_audio_transcription.completed", (event) =>
      resolve(event.transcript),
    );
    live.socket.on("open", () => {
      const input = { format, transcription: { language: "ru" }, turn_detection: null };
      live.send({ type: "session.update", session: { type: "transcription", audio: { input } } });
      for (const piece of pieces()) {
        live.send({ type: "input_audio_buffer.append", audio: piece.toString("base64") });
      }
      live.send({ type: "input_audio_buffer.commit" });
    });
  });
  live.close();
  listener.close();
  return { text, events };
}

async function vercel() {
  const openai = createOpenAI({ baseURL: `${server}/v1`, apiKey: "none", webSocket: WebSocket });
  const result = streamTranscribe({
    model: openai.transcription("gpt-realtime-whisper"),
    audio: ReadableStream.from(pieces()),
    inputAudioFormat: format,
    providerOptions: { openai: { language: "ru" } },
  });
  return { text: await result.text };
}

console.log(JSON.stringify({ sdk: await sdk(), vercel: await vercel() }));
