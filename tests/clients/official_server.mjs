// The reference tus server: node official_server.mjs ROOT PORT MAX_BYTES
import { Server } from "@tus/server";
import { FileStore } from "@tus/file-store";

const [directory, port, maxSize] = process.argv.slice(2);
const day = 24 * 3600 * 1000;
new Server({
  path: "/files",
  relativeLocation: true,
  maxSize: Number(maxSize),
  datastore: new FileStore({ directory, expirationPeriodInMilliseconds: day }),
}).listen({ host: "127.0.0.1", port: Number(port) });
