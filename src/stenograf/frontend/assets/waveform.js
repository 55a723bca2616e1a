// The sound before and after normalization, one lane each, with a playhead; a slider for the player.

class Waveform {
  constructor(say, seek) {
    this.say = say;
    this.position = 0;
    this.lanes = [this.#lane("before"), this.#lane("after")];
    this.root = h("div", {
      class: "waves", role: "slider", tabindex: "0", "aria-label": say("wave.label"),
      "aria-valuemin": "0",
      onpointerdown: (event) => this.#drag(event, seek),
      onkeydown: (event) => this.#key(event, seek),
    }, this.lanes.map((lane) => lane.root));
    this.resizer = new ResizeObserver(() => this.draw());
    this.resizer.observe(this.root);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.onScheme = () => setTimeout(() => this.draw(), 300); // after the theme's new colours
    this.scheme.addEventListener("change", this.onScheme);
  }

  destroy() {
    this.resizer.disconnect();
    this.scheme.removeEventListener("change", this.onScheme);
  }

  show(overview, duration_s) {
    this.overview = overview;
    this.duration_s = duration_s;
    this.root.setAttribute("aria-valuemax", String(Math.floor(duration_s)));
    const { before = {}, after = {} } = overview.levels;
    this.lanes[0].describe(before, this.say("wave.before"));
    this.lanes[1].describe(after, `${this.say("wave.after")}: ${this.#gain(overview.levels)}`);
    this.draw();
  }

  move(position_s) {
    this.position = position_s;
    this.root.setAttribute("aria-valuenow", String(Math.floor(position_s)));
    this.root.setAttribute("aria-valuetext", clock(position_s));
    if (this.overview) this.draw();
  }

  #lane(kind) {
    const canvas = h("canvas", { "aria-hidden": "true" });
    const figures = h("span", { class: "num" });
    const name = h("span", {});
    const root = h("div", { class: `lane ${kind}` },
      h("p", { class: "small muted caption" }, name, figures), canvas);
    const describe = (level, title) => {
      name.textContent = title;
      figures.textContent = this.#figures(level);
    };
    return { root, canvas, kind, describe };
  }

  #gain({ gain_db: gain = 0, limited }) {
    if (Math.abs(gain) < 0.05) return this.say("wave.unchanged");
    const value = `${gain > 0 ? "+" : "\u2212"}${decimal(Math.abs(gain), this.say.language)}`;
    return this.say(limited ? "wave.gain_limited" : "wave.gain", { value });
  }

  #figures(level) {
    const parts = [["peak_db", "wave.peak"], ["rms_db", "wave.rms"], ["lufs", "wave.lufs"]]
      .filter(([name]) => Number.isFinite(level[name]))
      .map(([name, key]) => this.say(key, { value: decimal(level[name], this.say.language) }));
    return parts.length ? parts.join("\u2002·\u2002") : this.say("wave.silence");
  }

  #drag(event, seek) {
    if (!this.overview) return;
    const canvas = this.lanes[0].canvas;
    const to = (moved) => {
      const { left, width } = canvas.getBoundingClientRect();
      seek(Math.min(1, Math.max(0, (moved.clientX - left) / width)) * this.duration_s);
    };
    to(event);
    this.root.setPointerCapture(event.pointerId);
    this.root.onpointermove = to;
    this.root.onpointerup = this.root.onpointercancel = () => { this.root.onpointermove = null; };
  }

  #key(event, seek) {
    const step_s = { ArrowLeft: -5, ArrowRight: 5, PageUp: -30, PageDown: 30 }[event.key];
    if (step_s === undefined) return;
    event.preventDefault();
    seek(Math.min(this.duration_s ?? 0, Math.max(0, this.position + step_s)));
  }

  draw() {
    if (!this.overview) return;
    for (const lane of this.lanes) {
      const style = getComputedStyle(lane.canvas);
      const gain = lane.kind === "after" ? this.overview.gain : 1;
      drawLane(lane.canvas, this.overview, gain, this.position / (this.duration_s || 1), {
        rest: style.getPropertyValue("--wave-rest"),
        played: style.getPropertyValue("--wave-played"),
      });
    }
  }
}

const BAR_PX = 2;
const GAP_PX = 1;

function drawLane(canvas, overview, gain, played, colours) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const { minimum, maximum } = overview;
  const bars = Math.floor(width / (BAR_PX + GAP_PX));
  const perBar = maximum.length / bars;
  const middle = height / 2;
  for (let bar = 0; bar < bars; bar += 1) {
    const first = Math.floor(bar * perBar);
    const last = Math.max(first + 1, Math.floor((bar + 1) * perBar));
    let [low, high] = [0, 0];
    for (let i = first; i < last && i < maximum.length; i += 1) {
      low = Math.min(low, minimum[i]);
      high = Math.max(high, maximum[i]);
    }
    const top = Math.min(1, high * gain) * (middle - 1);
    const bottom = Math.min(1, -low * gain) * (middle - 1);
    pen.fillStyle = (bar + 0.5) / bars <= played ? colours.played : colours.rest;
    pen.fillRect(bar * (BAR_PX + GAP_PX), middle - Math.max(0.5, top), BAR_PX,
      Math.max(1, top + bottom));
  }
}
