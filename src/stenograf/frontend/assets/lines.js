// The text: one line per phrase, one span per word; a click on either plays from there.

const UNSURE = 0.5; // words less probable than this are marked
const PAUSE_S = 2; // a new paragraph, in the running text, after as long a silence
const PHRASES = 8; // in a paragraph at most: one of three hours takes seconds to lay out

class Lines {
  constructor(say, play) {
    this.say = say;
    this.play = play;
    this.shown = new Map();
    this.cues = [];
    this.root = h("ol", { class: "lines", onclick: (event) => this.#click(event) });
    this.follow = true;
    this.onWheel = () => { this.follow = false; };
    for (const name of ["wheel", "touchmove"]) addEventListener(name, this.onWheel, { passive: true });
  }

  destroy() {
    for (const name of ["wheel", "touchmove"]) removeEventListener(name, this.onWheel);
  }

  // Draws `segments` in order, keeping lines that are already there untouched.
  show(segments, live) {
    const wanted = segments.filter((segment) => segment.text.trim());
    const keys = new Set();
    const paragraphs = inParagraphs(wanted);
    paragraphs.forEach((phrases, index) => {
      const paragraph = this.root.children[index] ?? this.root.appendChild(h("li", { class: "paragraph" }));
      let after = null;
      for (const segment of phrases) {
        const line = this.#shownLine(segment, keys, live);
        const place = after ? after.nextSibling : paragraph.firstChild;
        if (place !== line) paragraph.insertBefore(line, place);
        after = line;
      }
    });
    for (const [key, line] of this.shown) {
      if (!keys.has(key)) { line.remove(); this.shown.delete(key); }
    }
    while (this.root.children.length > paragraphs.length) this.root.lastChild.remove();
    this.#index();
    this.segments = wanted;
  }

  #shownLine(segment, keys, live) {
    const key = `${segment.start}-${segment.end}-${segment.text}`;
    keys.add(key);
    let line = this.shown.get(key);
    if (!line) {
      line = this.#line(segment);
      if (live) line.classList.add("fresh");
      this.shown.set(key, line);
    }
    return line;
  }

  get text() { return (this.segments ?? []).map((segment) => segment.text.trim()).join(" "); }

  mark(now_s, playing) {
    const cue = playing || now_s > 0 ? this.#at(now_s) : null;
    if (cue === this.current) return;
    this.current?.word.classList.remove("now");
    if (this.current?.line !== cue?.line) {
      this.current?.line.classList.remove("now");
      cue?.line.classList.add("now");
      if (cue && playing && this.follow) keepInView(cue.line);
    }
    cue?.word.classList.add("now");
    this.current = cue;
  }

  #line(segment) {
    const start_s = segment.start / SAMPLE_RATE;
    const speaker = segment.speaker
      ? h("span", { class: "speaker" }, this.#speaker(segment.speaker)) : null;
    const words = segment.words?.length ? segment.words : [{ ...segment, probability: null }];
    const text = h("p", { class: "said" }, speaker, words.flatMap((word, index) => {
      const bare = word.text.trim();
      const gap = index > 0 && /^\s/.test(word.text) ? " " : "";
      return [gap, this.#word(word, bare)];
    }));
    return h("div", { class: "line" },
      h("button", {
        class: "quiet num stamp", type: "button", "data-start": String(start_s),
        "aria-label": this.say("text.listen_from", { time: clock(start_s) }),
      }, clock(start_s)), text);
  }

  #word(word, bare) {
    const unsure = word.probability !== null && word.probability !== undefined
      && word.probability < UNSURE;
    return h("span", {
      class: unsure ? "word unsure" : "word", "data-start": String(word.start / SAMPLE_RATE),
      "data-end": String(word.end / SAMPLE_RATE),
      title: unsure ? this.say("text.unsure", { percent: Math.round(100 * word.probability) }) : null,
    }, bare);
  }

  #speaker(label) {
    const number = Number(/(\d+)$/.exec(label)?.[1]);
    return Number.isNaN(number) ? label : this.say("text.speaker", { number: number + 1 });
  }

  #click(event) {
    if (!getSelection().isCollapsed) return; // somebody is selecting text
    const target = event.target.closest("[data-start]");
    if (!target) return;
    this.follow = true;
    this.play(Number(target.dataset.start));
  }

  #index() {
    this.root.querySelectorAll(".now").forEach((element) => element.classList.remove("now"));
    this.cues = [...this.root.querySelectorAll(".word")].map((word) => ({
      start_s: Number(word.dataset.start), end_s: Number(word.dataset.end),
      word, line: word.closest(".line"),
    }));
    this.current = null;
  }

  // The word being said at `now_s`, else the last one said before it.
  #at(now_s) {
    let [low, high] = [0, this.cues.length - 1];
    if (high < 0 || now_s < this.cues[0].start_s) return null;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.cues[middle].start_s <= now_s) low = middle; else high = middle - 1;
    }
    return this.cues[low];
  }
}

function inParagraphs(segments) {
  const paragraphs = [];
  segments.forEach((segment, index) => {
    const silence_s = index ? (segment.start - segments[index - 1].end) / SAMPLE_RATE : Infinity;
    if (silence_s >= PAUSE_S || paragraphs.at(-1).length >= PHRASES) paragraphs.push([]);
    paragraphs.at(-1).push(segment);
  });
  return paragraphs;
}

const MARGIN_PX = 120; // the player above, the next lines below

function keepInView(line) {
  const { top, bottom } = line.getBoundingClientRect();
  if (top > MARGIN_PX && bottom < innerHeight - MARGIN_PX) return;
  const far = Math.abs(top) > 3 * innerHeight;
  line.scrollIntoView({ block: "center", behavior: far ? "instant" : "smooth" });
  if (!far) return;
  // Lines nobody has looked at yet have a guessed height: what is far is found the second time.
  const again = () => line.scrollIntoView({ block: "center", behavior: "instant" });
  requestAnimationFrame(() => requestAnimationFrame(again));
}
