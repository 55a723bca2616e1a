// What the backend knows about one job, as it becomes known. Sends: job, progress, segments,
// overview, link (connection lost or back), missing.

const SAMPLE_RATE = 16000; // contract/pcm.py
const FINAL = new Set(["completed", "failed", "cancelled"]);
const REPEAT_MS = 3000;
const TOGETHER_MS = 60;
const UNSEEN_MS = 10_000;

class JobFeed {
  constructor(backend, jobId, emit) {
    this.url = `${backend}/v1/jobs/${encodeURIComponent(jobId)}`;
    this.emit = emit;
    this.windows = new Map();
    this.lastWindow = null;
    this.onShown = () => this.#shown(!document.hidden);
    document.addEventListener("visibilitychange", this.onShown);
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
    clearTimeout(this.leaving);
    document.removeEventListener("visibilitychange", this.onShown);
    this.#stopWaiting();
  }

  // A browser opens six connections to one server for all its tabs: one that nobody looks at
  // lets go of its own. Who comes back may find that the recording changed or is gone.
  #shown(visible) {
    clearTimeout(this.leaving);
    if (!visible) {
      this.leaving = setTimeout(() => {
        this.asleep = Boolean(this.source);
        if (this.asleep) this.#stopWaiting();
      }, UNSEEN_MS);
    } else if (this.asleep) {
      this.asleep = false;
      this.open();
    } else {
      this.look();
    }
  }

  // Whether the recording still is what was shown last.
  async look() {
    if (this.closed || this.source || !this.job) return;
    const { status } = this.job;
    const now = await requestJson(this.url).catch((error) => error);
    if (this.closed || now.network || now.status >= 500 || now.status === 429) return;
    if (now.status !== status) this.open();
  }

  #stopWaiting() {
    clearTimeout(this.timer);
    if (this.drawing) this.#draw();
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
      this.#drawSoon();
    });
    on("reset", (_, event) => {
      this.lastWindow = event.lastEventId || this.lastWindow;
      this.windows.clear();
      this.#drawSoon();
    });
    on("status", (job) => this.#job(job));
    on("done", (job) => { this.#stopWaiting(); this.#job(job); this.#finish(); });
    const since = Date.now();
    this.source.onopen = () => this.emit("link", true);
    // Cut off or refused: what became of the job tells whether the server or the job is gone.
    this.source.onerror = () => {
      if (this.closed || !this.source) return;
      this.#stopWaiting();
      if (Date.now() - since > REPEAT_MS) this.open();
      else this.#later(() => this.open());
    };
  }

  // Many arrive at once when a page is opened late: they are drawn together.
  #drawSoon() { this.drawing ??= setTimeout(() => this.#draw(), TOGETHER_MS); }

  #draw() {
    clearTimeout(this.drawing);
    this.drawing = null;
    if (!this.closed) this.emit("segments", this.#segments(), { partial: true });
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
