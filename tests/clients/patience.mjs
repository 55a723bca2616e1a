// Two clients with their default limits on one slow server: node patience.mjs SERVER FILE
// Node's fetch gives up 300 s after it asked if no headers came. Prints one JSON object.
import fs from "node:fs";
import OpenAI from "openai7";

const [server, path] = process.argv.slice(2);
const started = performance.now();
const seconds = () => (performance.now() - started) / 1000;

async function plainFetch() {
  const form = new FormData();
  form.append("model", "whisper-1");
  form.append("file", new Blob([fs.readFileSync(path)]), "recording.flac");
  const answer = await fetch(`${server}/v1/audio/transcriptions`, { method: "POST", body: form });
  const headers_s = seconds();
  return { status: answer.status, headers_s, text: (await answer.json()).text, answer_s: seconds() };
}

async function sdk() {
  const client = new OpenAI({ baseURL: `${server}/v1`, apiKey: "none" });
  const file = fs.createReadStream(path);
  const { text } = await client.audio.transcriptions.create({ file, model: "whisper-1" });
  return { text, answer_s: seconds() };
}

const [fetched, sdked] = await Promise.all([plainFetch(), sdk()]);
console.log(JSON.stringify({ fetch: fetched, sdk: sdked }));
