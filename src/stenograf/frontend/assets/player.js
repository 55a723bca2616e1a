// The recording: play, skip, speed, one clock. Sound comes from the backend with Range requests.

const SPEEDS = [1, 1.25, 1.5, 2, 0.75];
const SKIP_S = 5;
const SOUND_AGAIN_MS = 3000;
const PATIENCE_MS = 2000; // of silence until it is said that the sound is on its way

class Player {
  // `onTime(now_s, playing)`; `onLost()` when the backend has no such sound any more.
  constructor(say, onTime, onLost) {
    this.say = say;
    this.onTime = onTime;
    this.onLost = onLost;
    this.duration_s = 0;
    this.audio = h("audio", { preload: "metadata" });
    this.toggle = h("button", { class: "primary icon", type: "button", onclick: () => this.playOrPause() });
    const skip = (key, step_s, text) => h("button", {
      class: "quiet num", type: "button", "aria-label": say(key), title: say(key),
      onclick: () => this.seek(this.audio.currentTime + step_s),
    }, text);
    this.speed = h("button", { class: "quiet num speed", type: "button", onclick: () => this.#faster() });
    this.clock = h("p", { class: "num clock", "data-testid": "clock" });
    this.problem = h("p", { class: "small muted grow", role: "status", hidden: true });
    this.controls = h("div", { class: "row controls" }, this.toggle,
      skip("player.back", -SKIP_S, `−${SKIP_S}`), skip("player.forward", SKIP_S, `+${SKIP_S}`),
      this.speed, this.clock);
    this.root = h("div", { class: "player" }, this.audio, this.controls, this.problem);
    for (const name of ["play", "pause", "ended"]) this.audio.addEventListener(name, () => this.#draw());
    this.audio.addEventListener("seeked", () => this.#tick());
    this.audio.addEventListener("error", () => this.#broken());
    this.audio.addEventListener("loadedmetadata", () => this.#playable());
    this.audio.addEventListener("durationchange", () => this.#learnLength());
    this.audio.addEventListener("waiting", () => this.#waiting());
    for (const name of ["playing", "pause", "seeked"]) this.audio.addEventListener(name, () => this.#arrived());
    this.#draw();
    this.#showSpeed();
  }

  load(url, duration_s) {
    if (duration_s) this.duration_s = duration_s;
    if (this.audio.getAttribute("src") !== url) this.audio.src = url;
    this.#tick();
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    clearTimeout(this.late);
    this.audio.removeAttribute("src");
    this.audio.load(); // lets the connection go
  }

  // Where the recording is, for a player that takes this one's place.
  get place() {
    return { at_s: this.audio.currentTime, playing: this.playing, rate: this.audio.playbackRate };
  }

  goOn({ at_s, playing, rate }) {
    this.stoppedAt_s = at_s;
    this.wasPlaying = playing;
    this.audio.playbackRate = this.audio.defaultPlaybackRate = rate;
    this.#showSpeed();
  }

  get playing() { return !this.audio.paused && !this.audio.ended; }

  playOrPause() {
    if (this.playing) this.audio.pause();
    else this.audio.play().catch(() => {});
  }

  seek(to_s, play = false) {
    const last_s = this.duration_s || this.audio.duration || to_s;
    this.audio.currentTime = Math.min(last_s, Math.max(0, to_s));
    this.#tick();
    if (play) this.audio.play().catch(() => {});
  }

  // What a browser records has no length in its header; going to its far end tells it.
  #learnLength() {
    const length_s = this.audio.duration;
    if (length_s === Infinity && !this.probing) {
      this.probing = true;
      this.audio.currentTime = 1e7;
    } else if (Number.isFinite(length_s)) {
      this.duration_s ||= length_s;
      if (this.probing) {
        this.probing = false;
        this.audio.currentTime = 0;
        this.#takeUp();
      }
      this.#tick();
    }
  }

  // A browser says the same of a format it cannot play, a server that is away and a sound that
  // is gone: the server is asked which of them it is.
  async #broken() {
    const url = this.audio.getAttribute("src");
    if (!url) return;
    this.stoppedAt_s ??= this.audio.currentTime;
    this.wasPlaying ??= this.playing;
    this.probing = false;
    const asking = new AbortController();
    const answer = await request(url, { signal: asking.signal }).catch(() => ({ status: 503 }));
    asking.abort(); // its head was enough
    if (this.audio.getAttribute("src") !== url) return;
    const undecodable = this.audio.error?.code === MediaError.MEDIA_ERR_DECODE;
    if (answer.ok && (undecodable || this.again)) return this.#say("player.unplayable");
    if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) return this.onLost();
    this.again = answer.ok; // it may have come back just now
    if (!answer.ok) this.#say("player.offline");
    this.timer = setTimeout(() => this.audio.load(), answer.ok ? 0 : SOUND_AGAIN_MS);
  }

  #waiting() {
    clearTimeout(this.late);
    this.late = setTimeout(() => this.#say("player.waiting", false), PATIENCE_MS);
  }

  #arrived() {
    clearTimeout(this.late);
    if (!this.controls.hidden) this.problem.hidden = true;
  }

  #say(key, hopeless = true) {
    clearTimeout(this.late);
    this.controls.hidden = hopeless;
    this.problem.hidden = false;
    this.problem.textContent = this.say(key);
  }

  #playable() {
    this.controls.hidden = false;
    this.problem.hidden = true;
    this.again = false;
    if (!this.probing) this.#takeUp();
  }

  #takeUp() {
    if (this.stoppedAt_s) this.audio.currentTime = this.stoppedAt_s;
    if (this.wasPlaying) this.audio.play().catch(() => {});
    this.stoppedAt_s = this.wasPlaying = undefined;
  }

  #faster() {
    const next = SPEEDS[(SPEEDS.indexOf(this.audio.playbackRate) + 1) % SPEEDS.length];
    this.audio.playbackRate = this.audio.defaultPlaybackRate = next;
    this.#showSpeed();
  }

  #showSpeed() {
    const value = new Intl.NumberFormat(this.say.language).format(this.audio.playbackRate);
    this.speed.textContent = `${value}×`;
    this.speed.setAttribute("aria-label", this.say("player.speed", { value }));
    this.speed.title = this.say("player.speed", { value });
  }

  #draw() {
    const key = this.playing ? "player.pause" : "player.play";
    this.toggle.replaceChildren(icon(this.playing ? "pause" : "play"));
    this.toggle.setAttribute("aria-label", this.say(key));
    this.toggle.title = this.say(key);
    this.#tick();
  }

  #tick() {
    cancelAnimationFrame(this.frame);
    if (!this.probing) {
      const now_s = this.audio.currentTime;
      const text = `${clock(now_s)} / ${clock(this.duration_s)}`;
      if (this.clock.textContent !== text) this.clock.textContent = text;
      this.onTime(now_s, this.playing);
    }
    if (this.playing) this.frame = requestAnimationFrame(() => this.#tick());
  }
}
