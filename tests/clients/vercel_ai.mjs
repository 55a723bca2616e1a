// Vercel's AI SDK: node vercel_ai.mjs SERVER FILE. Prints one JSON array, an answer per model name.
import fs from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_transcribe as transcribe } from "ai";

const [server, path] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${server}/v1`, apiKey: "none" });
const answers = [];
for (const name of ["whisper-1", "gpt-4o-transcribe"]) {
  const { text, language, durationInSeconds, segments, warnings } = await transcribe({
    model: openai.transcription(name),
    audio: fs.readFileSync(path),
    maxRetries: 0,
    providerOptions: name === "whisper-1" ? { openai: { timestampGranularities: ["word"] } } : {},
  });
  answers.push({ text, language, durationInSeconds, segments, warnings });
}
console.log(JSON.stringify(answers));
