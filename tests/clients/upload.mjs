// tus-js-client as a program: node upload.mjs ENDPOINT FILE '{"chunkSize": 65536, ...}'
// Prints the upload's URL. Beside the client's own options, "stopAt" aborts after that many bytes
// and goes on with a second Upload object that knows nothing but the URL.
import fs from "node:fs";
import * as tus from "tus-js-client";

const [endpoint, path, json] = process.argv.slice(2);
const { stopAt, ...options } = JSON.parse(json ?? "{}");
const size = fs.statSync(path).size;

function run(url, limit) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(fs.createReadStream(path), {
      endpoint,
      uploadUrl: url,
      uploadSize: size,
      chunkSize: 1024 * 1024,
      retryDelays: [0, 50, 100, 200, 400, 800, 1600, 3200],
      onError: reject,
      onSuccess: () => resolve(upload.url),
      onProgress: (sent) => {
        if (limit !== undefined && sent >= limit) {
          upload.abort().then(() => resolve(upload.url));
          limit = undefined;
        }
      },
      ...options,
    });
    upload.start();
  });
}

try {
  let url = await run(undefined, stopAt);
  if (stopAt !== undefined) url = await run(url);
  console.log(url);
} catch (error) {
  console.error(error);
  process.exit(1);
}
