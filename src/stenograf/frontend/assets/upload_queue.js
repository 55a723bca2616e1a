// Files on their way to the backend. One queue per tab, kept on `window`: it outlives every rerun
// of the page and every view, and needs nobody but the backend once a file is in it.

const QUEUE_NAME = "__stenografUploads";
const PENDING_NAME = "stenograf.pendingJobs";
const PARALLEL = 2;
const CHUNK_BYTES = 16 * 1024 * 1024;
const RETRY_DELAYS_MS = [0, 1000, 2000, 4000, 8000, 15000];
const OFFLINE_RETRY_MS = 5000;
const KEPT_MS = 24 * 3600 * 1000; // as long as the backend keeps an unfinished upload
const ABANDONED_MS = 60_000; // a tab that still lives tries more often than this
const MAX_WAIT_S = 30;
const ACTIVE = new Set(["waiting", "uploading", "paused", "offline", "posting"]);

function retriable(status) {
  return !status || [408, 409, 423, 429, 460].includes(status)
    || (status >= 500 && status !== 507);
}

class UploadQueue extends EventTarget {
  constructor() {
    super();
    this.items = [];
    this.serial = 0;
    addEventListener("online", () => this.#wake());
    addEventListener("beforeunload", (event) => {
      if (this.items.some((item) => ["waiting", "uploading", "offline"].includes(item.state))) {
        event.preventDefault();
      }
    });
  }

  // `recordingId` names a microphone recording that stays on the shelf until it is uploaded.
  add(files, backend, options, recordingId = null) {
    const batch = [...files].map((file) => ({
      key: ++this.serial, file, name: file.name, size: file.size, backend, options,
      state: "waiting", sent: 0, speed: 0, alone: files.length === 1, error: null, recordingId,
    }));
    for (const item of batch) {
      if (item.size === 0) this.#fail(item, { code: "empty_file" });
    }
    this.items.push(...batch);
    this.#pump();
  }

  // A finished upload whose job could not be created before the tab was closed.
  recover(backend) {
    for (const entry of pendingJobs()) {
      const mine = this.items.some((item) => item.uploadId === entry.uploadId);
      if (mine || entry.backend !== backend) continue;
      const early_ms = entry.at + ABANDONED_MS - Date.now();
      if (early_ms > 0) {
        clearTimeout(this.recovering);
        this.recovering = setTimeout(() => this.recover(backend), early_ms + 1000);
        continue;
      }
      const item = {
        key: ++this.serial, name: entry.title, size: entry.size, sent: entry.size, speed: 0, backend,
        options: entry.options, uploadId: entry.uploadId, state: "posting", alone: false, error: null,
      };
      this.items.push(item);
      this.#post(item);
    }
  }

  pause(item) {
    item.upload?.abort();
    this.#set(item, "paused");
    this.#pump();
  }

  resume(item) {
    this.#set(item, "waiting");
    this.#pump();
  }

  retry(item) {
    item.error = null;
    if (item.uploadId) this.#post(item);
    else this.resume(item);
  }

  remove(item) {
    clearTimeout(item.timer);
    item.upload?.abort(true).catch(() => {}); // the backend forgets it by itself after a day
    forgetPending(item.uploadId);
    recordingShelf().remove(item.recordingId);
    this.items = this.items.filter((other) => other !== item);
    this.#changed();
    this.#pump();
  }

  #changed() { this.dispatchEvent(new Event("change")); }

  #set(item, state) {
    item.state = state;
    this.#changed();
  }

  #fail(item, error) {
    item.error = error;
    this.#set(item, "failed");
  }

  #wake() {
    for (const item of this.items) {
      if (item.state === "offline") this.resume(item);
    }
  }

  #pump() {
    const running = this.items.filter((item) => item.state === "uploading").length;
    const next = this.items.filter((item) => item.state === "waiting").slice(0, PARALLEL - running);
    for (const item of next) this.#start(item);
    this.#changed();
  }

  async #start(item) {
    item.state = "uploading";
    item.mark = { at: performance.now(), sent: item.sent };
    if (!item.upload) {
      item.upload = this.#tus(item);
      const previous = await item.upload.findPreviousUploads().catch(() => []);
      const same = previous.filter((p) => (p.uploadUrl ?? "").startsWith(item.backend));
      if (same.length) item.upload.resumeFromPreviousUpload(same[0]);
      if (item.state !== "uploading") return; // paused or removed meanwhile
    }
    item.upload.start();
  }

  #tus(item) {
    return new window.tus.Upload(item.file, {
      endpoint: `${item.backend}/files`,
      chunkSize: CHUNK_BYTES,
      retryDelays: RETRY_DELAYS_MS,
      removeFingerprintOnSuccess: true,
      onBeforeRequest: (call) => { call.getUnderlyingObject().withCredentials = true; },
      metadata: { filename: item.name, filetype: item.file.type || "application/octet-stream" },
      onShouldRetry: (error) => this.#mayRetry(item, error.originalResponse),
      onProgress: (sent) => this.#progress(item, sent),
      onSuccess: () => this.#uploaded(item),
      onError: (error) => this.#broken(item, error),
    });
  }

  #mayRetry(item, response) {
    item.cut = !response; // to be said at once: all retries together take half a minute
    if (item.cut) item.speed = 0;
    this.#changed();
    return retriable(response?.getStatus() ?? 0);
  }

  #progress(item, sent) {
    item.sent = sent;
    item.cut = false;
    const now = performance.now();
    const elapsed = (now - item.mark.at) / 1000;
    if (elapsed >= 0.5) {
      const speed = Math.max(0, sent - item.mark.sent) / elapsed;
      item.speed = item.speed ? 0.7 * item.speed + 0.3 * speed : speed;
      item.mark = { at: now, sent };
    }
    this.#changed();
  }

  #broken(item, error) {
    if (item.state !== "uploading") return;
    const response = error.originalResponse;
    const status = response?.getStatus() ?? 0;
    if ((status === 404 || status === 410) && !item.restarted) {
      // The server keeps nothing of it any more: from the beginning, once.
      Object.assign(item, { restarted: true, upload: null, sent: 0, state: "waiting" });
    } else if (retriable(status)) {
      this.#set(item, "offline");
      item.timer = setTimeout(() => item.state === "offline" && this.resume(item), OFFLINE_RETRY_MS);
    } else {
      let body = {};
      try { body = JSON.parse(response.getBody()).error ?? {}; } catch { /* not ours: no words */ }
      this.#fail(item, { code: "internal", ...body });
    }
    this.#pump();
  }

  #uploaded(item) {
    item.sent = item.size;
    item.uploadId = item.upload.url.replace(/\/+$/, "").split("/").pop();
    this.#post(item);
    this.#pump();
  }

  async #post(item, attempt = 0) {
    this.#set(item, "posting");
    rememberPending(item);
    recordingShelf().remove(item.recordingId);
    try {
      const job = await requestJson(`${item.backend}/v1/jobs`, {
        method: "POST", keepalive: true, headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ upload_id: item.uploadId, options: item.options }),
      });
      forgetPending(item.uploadId);
      if (!this.items.includes(item)) { // taken back meanwhile
        await request(`${item.backend}/v1/jobs/${job.id}?purge=true`, { method: "DELETE" });
        return;
      }
      this.items = this.items.filter((other) => other !== item);
      this.dispatchEvent(new CustomEvent("created", { detail: { id: job.id, alone: item.alone } }));
      this.#changed();
    } catch (error) {
      if (!this.items.includes(item)) return;
      if (error.network || retriable(error.status)) {
        item.error = error.status === 429 ? error : null;
        const delay_ms = Math.min(MAX_WAIT_S, error.retryAfter || 2 ** attempt) * 1000;
        item.timer = setTimeout(() => this.#post(item, attempt + 1), delay_ms);
        this.#changed();
      } else {
        if (error.status === 401) rememberPending(item, 0); // until somebody shows a key
        else forgetPending(item.uploadId);
        this.#fail(item, error);
      }
    }
  }
}

function pendingJobs() {
  try {
    return JSON.parse(localStorage.getItem(PENDING_NAME)) ?? [];
  } catch {
    return [];
  }
}

function storePending(entries) {
  try {
    localStorage.setItem(PENDING_NAME, JSON.stringify(entries));
  } catch { /* storage is full or forbidden: only recovery after a crash is lost */ }
}

function rememberPending(item, at = Date.now()) {
  const { uploadId, backend, options, size, name: title } = item;
  const others = pendingJobs().filter((entry) => entry.uploadId !== uploadId);
  storePending([...others, { uploadId, backend, options, size, title, at }]);
}

function forgetPending(uploadId) {
  if (uploadId) storePending(pendingJobs().filter((entry) => entry.uploadId !== uploadId));
}

// Uploads that a reload interrupted and the backend still keeps: choosing the same file again
// continues them.
async function interruptedUploads(backend) {
  const all = await uploadStorage().findAllUploads().catch(() => []);
  const oldest = Date.now() - KEPT_MS;
  return all.filter((entry) => (entry.uploadUrl ?? "").startsWith(backend)
    && Date.parse(entry.creationTime) > oldest);
}

function forgetUploads(entries) {
  return Promise.all(entries.map((entry) => uploadStorage().removeUpload(entry.urlStorageKey)));
}

function uploadStorage() { return new window.tus.Upload(new Blob(), {}).options.urlStorage; }

function uploadQueue() {
  window[QUEUE_NAME] ??= new UploadQueue();
  return window[QUEUE_NAME];
}
