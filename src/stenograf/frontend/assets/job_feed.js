// What the backend knows about one job, as it becomes known. Sends: job, progress, segments,
// overview, link (connection lost or back), missing.

const SAMPLE_RATE = 16000; // contract/pcm.py
const FINAL = new Set(["completed", "failed", "cancelled"]);
const REPEAT_MS = 3000;
const TOGETHER_MS = 60;

class JobFeed {
  constructor(backend, jobId, emit) {
    this.url = `${backend}/v1/jobs/${encodeURIComponent(jobId)}`;
    this.emit = emit;
    this.windows = new Map();
    this.lastWindow = null;
    this.open();
  }

  async open() {
    this.#stopWaiting();
    try {
      this.#job(await requestJson(this.url));
      this.emit("link", true);
    } catch (error) {
      if (this.closed) return;
      if (error.status && error.status < 500 && error.status !== 429) {
        return this.emit("missing", error);
      }
      this.emit("link", false);
      return this.#later(() => this.open());
    }
    if (this.closed) return;
    if (FINAL.has(this.job.status)) await this.#finish();
    else this.#listen();
  }

  close() {
    this.closed = true;
    this.#stopWaiting();
  }

  #stopWaiting() {
    clearTimeout(this.timer);
    clearTimeout(this.drawing);
    this.drawing = null;
    this.source?.close();
    this.source = null;
  }

  #later(run) {
    clearTimeout(this.timer);
    this.timer = setTimeout(run, REPEAT_MS);
  }

  #job(job) {
    this.job = job;
    if (!this.closed) this.emit("job", job);
  }

  #listen() {
    const query = this.lastWindow === null ? "" : `?last_event_id=${this.lastWindow}`;
    this.source = new EventSource(`${this.url}/events${query}`, { withCredentials: true });
    const on = (name, use) => this.source.addEventListener(name, (event) => use(JSON.parse(event.data), event));
    on("progress", (progress) => {
      this.emit("progress", progress);
      if (!this.overviewKnown && progress.stage !== "waiting" && progress.stage !== "decoding") {
        this.overview();
      }
    });
    on("window", (window, event) => {
      this.lastWindow = event.lastEventId || this.lastWindow;
      this.windows.set(window.index, window);
      // Many arrive at once when a page is opened late: draw them together.
      this.drawing ??= setTimeout(() => {
        this.drawing = null;
        this.emit("segments", this.#segments(), { partial: true });
      }, TOGETHER_MS);
    });
    on("status", (job) => this.#job(job));
    on("done", (job) => { this.#stopWaiting(); this.#job(job); this.#finish(); });
    this.source.onopen = () => this.emit("link", true);
    this.source.onerror = () => {
      if (this.closed || !this.source) return;
      this.emit("link", false);
      // The browser repeats by itself unless the server refused: then ask what became of the job.
      if (this.source.readyState === EventSource.CLOSED) this.#later(() => this.open());
    };
  }

  // Show the finished transcript with a language model's punctuation, or as it was recognized.
  spell(punctuated) {
    this.punctuated = punctuated;
    return this.#finish();
  }

  #segments() {
    const ordered = [...this.windows.values()].sort((a, b) => a.index - b.index);
    return ordered.flatMap((window) => window.segments);
  }

  async #finish() {
    this.overview();
    const whole = this.job.status === "completed";
    const spelled = this.punctuated ? "&punctuated=true" : "";
    const query = whole ? `format=json${spelled}` : "format=json&partial=true";
    try {
      const transcript = await requestJson(`${this.url}/transcript?${query}`);
      this.emit("segments", transcript.segments, { partial: !whole, transcript });
    } catch (error) {
      if (this.closed || !whole) return;
      if (error.network || error.status >= 500) return this.#later(() => this.#finish());
      this.emit("missing", error);
    }
  }

  async overview() {
    if (this.overviewKnown || this.closed) return;
    this.overviewKnown = true;
    try {
      const overview = await requestJson(`${this.url}/overview`);
      if (!this.job.duration_s) this.#job(await requestJson(this.url));
      if (!this.closed) this.emit("overview", overview);
    } catch (error) {
      this.overviewKnown = error.status !== 409 && !error.network;
    }
  }
}
