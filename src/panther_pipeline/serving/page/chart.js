// The timeline: one stem per transaction, time to the right, surprise upwards.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 34, right: 12, top: 12, bottom: 24 };
const DAY_MS = 86_400_000;
const FULL_HEAT = 8; // nats: the colour of what is rare, one in three thousand

export class Timeline {
  // `onChoose` is told which event the pointer or the keyboard is on; the draft is a transaction that has not happened.
  constructor(host, onChoose) {
    Object.assign(this, { host, onChoose, events: [], draft: null, chosen: -1 });
    new ResizeObserver(() => this.draw()).observe(host);
    for (const name of ["pointermove", "pointerdown"]) {
      host.addEventListener(name, (event) => this.chooseAt(event.clientX - host.getBoundingClientRect().left));
    }
    host.addEventListener("keydown", (event) => this.onKey(event));
  }

  show(events) {
    this.events = events.map((event) => ({ ...event, ms: Date.parse(event.event_time) }));
    this.chosen = -1;
    this.draw();
    this.choose(events.length - 1);
  }

  showDraft(draft) {
    this.draft = draft && Number.isFinite(Date.parse(draft.event_time)) ? { ...draft, ms: Date.parse(draft.event_time) } : null;
    this.draw();
  }

  chooseAt(x) {
    const distance = this.events.map((event) => Math.abs(this.x(event.ms) - x));
    this.choose(distance.indexOf(Math.min(...distance)));
  }

  onKey(event) {
    const last = this.events.length - 1;
    const from = this.chosen < 0 ? last + 1 : this.chosen;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(Math.max(0, Math.min(last, to)));
  }

  choose(index) {
    if (index < 0 || index === this.chosen) return;
    this.chosen = index;
    this.onChoose(this.events[index]);
    this.draw();
  }

  draw() {
    const { width, height } = this.host.getBoundingClientRect();
    const all = this.draft ? [...this.events, this.draft] : this.events;
    if (!width || !all.length) return this.host.replaceChildren();
    const [earliest, latest] = [Math.min(...all.map((event) => event.ms)), Math.max(...all.map((event) => event.ms))];
    const span = Math.max(DAY_MS, latest - earliest);
    const first = (earliest + latest - span) / 2;
    const top = 2 * Math.ceil(Math.max(6, ...all.map((event) => event.surprise)) / 2);
    this.x = (ms) => MARGIN.left + ((ms - first) / span) * (width - MARGIN.left - MARGIN.right);
    this.y = (nats) => height - MARGIN.bottom - (nats / top) * (height - MARGIN.top - MARGIN.bottom);
    const svg = draw("svg", { "aria-hidden": "true" });
    svg.append(...this.axes(width, first, span, top), ...this.events.flatMap((event) => this.stem(event)));
    if (this.draft) svg.append(this.diamond(this.draft));
    const chosen = this.events[this.chosen];
    if (chosen) svg.append(draw("circle", { class: "chosen", cx: this.x(chosen.ms), cy: this.y(chosen.surprise), r: 6 }));
    this.host.replaceChildren(svg);
  }

  axes(width, first, span, top) {
    const step = top > 10 ? 4 : 2;
    const lines = [];
    for (let nats = 0; nats <= top; nats += step) {
      lines.push(draw("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: this.y(nats), y2: this.y(nats) }));
      lines.push(draw("text", { x: MARGIN.left - 8, y: this.y(nats) + 4, "text-anchor": "end" }, nats));
    }
    for (const { ms, text } of ticks(first, first + span, Math.max(2, Math.floor(width / 110)))) {
      if (this.x(ms) > width - 36) continue;
      lines.push(draw("text", { x: this.x(ms), y: this.y(0) + 18, "text-anchor": "middle" }, text));
    }
    if (this.events.length) {
      const mean = this.y(this.events.reduce((sum, event) => sum + event.surprise, 0) / this.events.length);
      lines.push(draw("line", { class: "mean", x1: MARGIN.left, x2: width - MARGIN.right, y1: mean, y2: mean }));
    }
    return lines;
  }

  stem(event) {
    const [x, y] = [this.x(event.ms), this.y(event.surprise)];
    const parts = [
      draw("line", { class: "stem", x1: x, x2: x, y1: this.y(0), y2: y }),
      draw("circle", { class: "head", cx: x, cy: y, r: 3 }),
    ];
    const heat = `${Math.round(100 * Math.max(0, Math.min(1, (event.surprise - 2) / (FULL_HEAT - 2))))}%`;
    for (const part of parts) part.style.setProperty("--heat", heat);
    return parts;
  }

  diamond(event) {
    const [x, y] = [this.x(event.ms), this.y(event.surprise)];
    return draw("path", { class: "draft", d: `M${x - 7} ${y}L${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}Z` });
  }
}

function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// First days of months, or days, at most `num`.
function ticks(first, last, num) {
  const days = Math.ceil((last - first) / DAY_MS / num);
  const months = Math.ceil(days / 31);
  const date = new Date(first);
  const found = [];
  for (let i = 1; found.length <= num; i++) {
    const [month, day] = days > 20 ? [i * months, 1] : [0, date.getUTCDate() + i * days];
    const ms = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + month, day);
    if (ms > last) break;
    found.push({ ms, text: new Date(ms).toISOString().slice(0, days > 20 ? 7 : 10) });
  }
  return found;
}
