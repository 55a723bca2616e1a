// OpenAI's JavaScript SDK as its users write it: node openai_sdk.mjs PACKAGE SERVER FILE
// Prints one JSON object with every answer.
import fs from "node:fs";

const [name, server, path] = process.argv.slice(2);
const { default: OpenAI, toFile } = await import(name);
const client = new OpenAI({ baseURL: `${server}/v1`, apiKey: "none", maxRetries: 0 });
const model = "whisper-1";
const transcriptions = client.audio.transcriptions;
const stream = () => fs.createReadStream(path);

const answers = {
  json: await transcriptions.create({ file: stream(), model }),
  verbose_json: await transcriptions.create({
    file: stream(),
    model,
    language: "ru",
    temperature: 0,
    response_format: "verbose_json",
    timestamp_granularities: ["word", "segment"],
  }),
  blob: await transcriptions.create({
    file: await toFile(fs.readFileSync(path), "заказ.flac", { type: "audio/flac" }),
    model: "gpt-4o-transcribe",
    chunking_strategy: "auto",
  }),
  models: [],
};
for (const response_format of ["text", "srt", "vtt"]) {
  answers[response_format] = await transcriptions.create({ file: stream(), model, response_format });
}
answers.diarized_json = await transcriptions.create({
  file: stream(),
  model: "gpt-4o-transcribe-diarize",
  response_format: "diarized_json",
  chunking_strategy: "auto",
});
answers.logprobs = await transcriptions.create({ file: stream(), model, include: ["logprobs"] });
answers.events = [];
for await (const event of await transcriptions.create({ file: stream(), model, stream: true })) {
  answers.events.push(event);
}
for await (const served of client.models.list()) answers.models.push(served.id);
try {
  await transcriptions.create({ file: stream(), model: "nonesuch" });
} catch (error) {
  answers.error = { kind: error.constructor.name, status: error.status, code: error.code };
}
console.log(JSON.stringify(answers));
