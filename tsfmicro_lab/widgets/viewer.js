// Frames of a clip, sent once: scrubbing, playing and comparing happen here and need no kernel. What handles and
// switches are set to goes to the kernel when they come to rest; from there come the frames and the optical flow.
// One module with pictures.js, controls.js and panes.js, which come before.

// Ways to compare, and what the slider sets in each: name in the view, label, least, most and step.
const MODES = {
  "side by side": null,
  blink: ["interval", "each for, ms", 200, 2000, 50],
  swipe: ["divider", "divider", 0, 1, 0.01],
  amplified: ["times", "change ×", 0, 30, 0.5],
  magnified: ["factor", "motion ×", 0, 15, 0.5],
};
const VIEW = { mode: "side by side", interval: 500, divider: 0.5, times: 8, factor: 5, gain: 20, speed: 0.1 };
const DRAWN = { outline: "", points: false, arrows: false, zoom: 1, centre: [0.5, 0.5] };
const [LEFT, RIGHT] = [46, 44]; // margins of the timeline, pixels

// Round numbers from zero to the last, about so many.
function ticks(last, about) {
  const power = 10 ** Math.floor(Math.log10(Math.max(last / about, 1)));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => last / n <= about) || 20 * power;
  return Array.from({ length: Math.floor(last / step + 1e-9) + 1 }, (_, i) => i * step);
}

class Viewer extends Panes {
  constructor(model, el) {
    super(el);
    Object.assign(this, { model, first: true, playing: 0, view: { ...VIEW, ...DRAWN } });
    build(this);
    const calls = { frames: () => this.open(), flow: () => this.readFlow(), view: () => this.restore() };
    calls.onset = calls.apex = () => this.grab({ onset: model.get("onset"), apex: model.get("apex") });
    for (const [name, call] of Object.entries(calls)) {
      calls[name] = () => this.telling || call(); // what this viewer tells, it knows
      model.on(`change:${name}`, calls[name]);
    }
    this.close = () => {
      for (const [name, call] of Object.entries(calls)) model.off(`change:${name}`, call);
      this.release();
      this.stop();
      clearInterval(this.blinking);
      this.film.open = false;
    };
    this.open();
  }

  // ---- what is shown, and the kernel
  open() {
    if (this.film) this.film.open = false;
    this.stop();
    this.film = new Film(this.model, (n) => (n === this.onset || n === this.apex) && this.refresh(true));
    const { count, outlines = {}, type } = this.film.info;
    const [sent, empty] = [this.film.bytes.length, !this.film.bytes.length];
    this.inputs.outline.replaceChildren(...["", ...Object.keys(outlines)].map((name) => {
      return make("option", { value: name }, name || "none");
    }));
    this.el.classList.toggle("tsf-empty", empty);
    const notes = [empty ? "there is no picture to show" : sent < count && `${sent} of ${count} frames`];
    if (!empty && type === "image/jpeg") notes.push("JPEG: changes below 3 grey levels may be its own");
    this.status.textContent = notes.filter(Boolean).join("; ");
    if (empty) return;
    for (const which of ["onset", "apex"]) this.inputs[which].max = count - 1;
    this.grab({ onset: this.model.get("onset"), apex: this.model.get("apex") });
    this.readFlow();
    this.restore();
  }
  // The kernel's optical flow, brought to the size of the pictures, in their pixels.
  readFlow() {
    const { data, shape, title, pair } = this.model.get("flow");
    const { width, height } = this.film.info;
    this.flow = null;
    if (data && width) {
      const values = new Int16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
      const [high, wide] = shape;
      const scale = width / wide;
      const planes = [0, 1].map((plane) => {
        const few = values.subarray(plane * wide * high, (plane + 1) * wide * high);
        const place = (i) => [(i % width + 0.5) / scale - 0.5, (Math.floor(i / width) + 0.5) / scale - 0.5];
        const pixel = (_, i) => (sample(few, wide, high, ...place(i)) * scale) / 256;
        return Float32Array.from({ length: width * height }, pixel);
      });
      const longest = planes[0].reduce((most, dx, i) => Math.max(most, Math.hypot(dx, planes[1][i])), 0);
      this.flow = { planes, title, pair, longest, full: (3 * width) / 224 };
    }
    this.lay();
  }
  restore() {
    this.view = { ...VIEW, ...DRAWN, ...this.model.get("view") };
    if (!(this.view.mode in MODES)) this.view.mode = VIEW.mode;
    this.lay();
  }
  set(change) {
    const laid = "mode" in change || "interval" in change;
    this.view = { ...this.view, ...change };
    if (laid) this.lay();
    this.refresh();
    this.rest();
  }
  // Moves handles as far as the other one lets them.
  grab({ onset = this.onset, apex = this.apex }, resting = false) {
    if (apex === this.apex) onset = Math.min(onset, apex);
    [this.onset, this.apex] = [onset, Math.max(onset, apex)];
    this.refresh();
    if (resting) this.rest();
  }
  // Tells the kernel, when nothing has moved for a while.
  rest(wait = 200) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.telling = true;
      for (const name of ["onset", "apex", "view"]) this.model.set(name, this[name]);
      this.model.save_changes();
      this.telling = false;
    }, wait);
  }
  toggle() {
    if (this.playing) {
      this.stop();
      return this.rest(0);
    }
    const began = performance.now();
    const run = (now) => {
      const { count, fps } = this.film.info;
      const passed = Math.floor((Math.max(now - began, 0) / 1000) * fps * this.view.speed);
      this.grab({ apex: this.film.nearest(this.onset + (passed % (count - this.onset))) });
      this.playing = requestAnimationFrame(run);
    };
    this.play.textContent = "⏸";
    this.playing = requestAnimationFrame(run);
  }
  stop() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.play.textContent = "▶";
  }

  // ---- controls
  // Brings switches to what the view says.
  show() {
    const { view, inputs } = this;
    for (const radio of this.modes) radio.checked = radio.value === view.mode;
    const [name, label, min, max, step] = MODES[view.mode] || ["times", "", 0, 1, 1];
    const [text, slider, output] = this.strength.children;
    Object.assign(slider, { min, max, step, value: view[name], ariaLabel: label });
    [text.textContent, output.textContent] = [label, view[name]];
    this.strength.classList.toggle("tsf-hidden", !MODES[view.mode]); // its room stays
    inputs.gain.value = inputs.gain.nextSibling.textContent = view.gain;
    [inputs.outline.value, inputs.speed.value] = [view.outline, view.speed];
    [inputs.points.checked, inputs.arrows.checked] = [view.points, view.arrows];
  }

  // ---- timeline
  x(number, width) {
    return LEFT + ((width - LEFT - RIGHT) * number) / Math.max(this.film.info.count - 1, 1);
  }
  drag(event) {
    const box = this.track.getBoundingClientRect();
    const last = this.film.info.count - 1;
    const frame = (e) => this.film.nearest(((e.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * last);
    const [n, held] = [frame(event), event.target.closest(".tsf-handle")];
    const nearer = n < this.onset || Math.abs(n - this.onset) < Math.abs(n - this.apex) ? "onset" : "apex";
    const which = held ? Object.keys(this.handles).find((name) => this.handles[name] === held) : nearer;
    event.preventDefault();
    this.handles[which].focus({ preventScroll: true });
    this.track.setPointerCapture(event.pointerId);
    this.stop();
    if (!held) this.grab({ [which]: n });
    this.track.onpointermove = (e) => {
      clearTimeout(this.resting); // nothing rests
      this.grab({ [which]: frame(e) });
    };
    this.track.onpointerup = this.track.onpointercancel = () => {
      this.track.onpointermove = this.track.onpointerup = this.track.onpointercancel = null;
      this.rest(0);
    };
  }
  key(event, which) {
    const far = event.shiftKey ? 10 : 1;
    const steps = { ArrowLeft: -far, ArrowDown: -far, ArrowRight: far, ArrowUp: far, PageDown: -10, PageUp: 10 };
    const by = { ...steps, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === " ") this.toggle();
    else if (!by || event.ctrlKey || event.metaKey) return;
    else this.grab({ [which]: this.film.step(this[which], by) }, true);
    event.preventDefault();
  }
  drawAxis() {
    const { count, fps, levels, annotated, spotted, name } = this.film.info;
    const width = Math.max(this.track.clientWidth, LEFT + RIGHT + 1);
    const [top, bottom, most, last] = [32, 74, Math.max(...levels, 1e-6), count - 1];
    const at = (n) => this.x(n, width).toFixed(1);
    const text = (x, y, what, more = 'text-anchor="middle"') => `<text x="${x}" y="${y}" ${more}>${what}</text>`;
    const line = (x1, x2, y1, y2) => `<line x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}"/>`;
    const tick = (n, y, what) => line(at(n), at(n), bottom, bottom + 4) + text(at(n), y, what);
    const points = this.film.numbers.map((n, i) => `${at(n)},${bottom - (levels[i] / most) * (bottom - top)}`);
    const frames = ticks(last, width / 70).map((n) => tick(n, bottom + 15, n));
    const times = ticks((last / fps) * 1000, width / 90).map((ms) => tick((ms * fps) / 1000, bottom + 28, ms));
    const mark = (n, y, kind, sign) => {
      return text(at(n), y, `${sign}<title>${kind}: frame ${n}</title>`, `class="tsf-${kind}" text-anchor="middle"`);
    };
    const marks = annotated.filter((n) => n !== null).map((n) => mark(n, bottom + 1, "annotated", "▲"));
    const told = `annotated ${annotated.filter((n) => n !== null).join(", ")}, spotted apex ${spotted}`;
    this.axis.setAttribute("viewBox", `0 0 ${width} 104`);
    const change = `at most ${most.toFixed(1)} grey levels`;
    this.axis.setAttribute("aria-label", `Change over the ${count} frames of ${name}, ${change}: ${told}`);
    this.axis.innerHTML = [
      `${line(LEFT, at(last), bottom, bottom)}<polyline points="${points.join(" ")}"/>`,
      ...frames, ...times, ...marks, mark(spotted, top - 4, "spotted", "▼"),
      text(0, bottom + 15, "frame", ""), text(0, bottom + 28, "ms", ""),
      text(0, top + 4, most.toFixed(1), ""), text(0, top + 16, "grey", ""), text(0, top + 28, "levels", ""),
    ].join("");
  }

  // ---- pictures
  lay() {
    const kinds = this.view.mode === "side by side" ? ["onset", "apex"] : [this.view.mode];
    kinds.push("difference", ...(this.flow ? ["flow"] : []));
    this.fill(kinds);
    clearInterval(this.blinking);
    this.blinking = this.view.mode === "blink" && setInterval(() => {
      this.first = !this.first;
      this.refresh();
    }, this.view.interval);
    this.refresh(true);
  }
  // A drag moves the divider of a swipe.
  dragged(place) {
    const swipes = this.view.mode === "swipe" && this.view.zoom === 1;
    if (swipes) this.set({ divider: place[0] });
    return swipes;
  }
  draw() {
    if (!this.film.open || !this.film.bytes.length) return;
    const { film, view, onset, apex, handles, first } = this;
    const ms = (frames) => `${Math.round((frames / film.info.fps) * 1000)} ms`;
    if (this.stale) this.drawAxis();
    const ends = { onset: [film.numbers[0], apex], apex: [onset, film.numbers[film.numbers.length - 1]] };
    for (const [which, [min, max]] of Object.entries(ends)) {
      const now = this[which];
      handles[which].style.left = `${this.x(now, this.track.clientWidth)}px`;
      for (const [key, value] of Object.entries({ now, min, max, text: `frame ${now}, ${ms(now)}` })) {
        handles[which].setAttribute(`aria-value${key}`, value);
      }
      if (document.activeElement !== this.inputs[which]) this.inputs[which].value = now;
    }
    this.track.style.setProperty("--from", handles.onset.style.left);
    this.track.style.setProperty("--to", handles.apex.style.left);
    this.between.textContent = `${apex - onset} frames, ${ms(apex - onset)}`;
    this.show();
    const [a, b] = [film.at(onset), film.at(apex)];
    if (!a || !b) return;
    const fresh = this.flow && this.flow.pair[0] === onset && this.flow.pair[1] === apex;
    const values = this.cross ? this.values(a, b, fresh) : {};
    this.where.textContent = values.place || "";
    const titles = {
      onset: `onset: frame ${onset}`, apex: `apex: frame ${apex}`, difference: "difference: apex − onset",
      blink: first ? `onset: frame ${onset}` : `apex: frame ${apex}`, swipe: `onset ${onset} | apex ${apex}`,
      amplified: `onset + ${view.times} × change`, magnified: `motion × ${view.factor}`,
      flow: this.flow && this.flow.title,
    };
    for (const pane of this.panes) {
      const { kind, title, figure, canvas } = pane;
      const key = READS[kind].split(" ").map((name) => ({ ...view, onset, apex, first, fresh })[name]).join();
      if (this.stale || pane.key !== key) {
        const picture = PICTURES[kind]({ a, b, view, first, flow: this.flow, fresh }, pane);
        this.pixels(pane, picture);
        this.bar(pane);
        pane.key = key;
        pane.painted = null;
      }
      const past = ["flow", "magnified"].includes(kind) && !fresh;
      figure.classList.toggle("tsf-past", past);
      const whose = kind === "flow" && this.flow.pair.length ? ` of ${this.flow.pair.join(" to ")}` : ": to come";
      title.textContent = titles[kind] + (past ? whose : "") + (kind in values ? ` · ${values[kind]}` : "");
      const told = `${pane.told || titles[kind]}; ${film.info.name}, onset ${onset}, apex ${apex}`;
      canvas.setAttribute("aria-label", told);
      this.lines(pane);
    }
    this.stale = false;
  }
  // What the colours of a pane mean.
  bar(pane) {
    const { gain, arrows } = this.view;
    const key = [pane.kind, gain, arrows, theme()].join();
    if (pane.bar.key === key) return;
    pane.bar.key = key;
    if (pane.kind === "difference") this.scale(pane, diverging, `−${gain}`, `+${gain} grey levels`);
    else if (pane.kind !== "flow" || arrows) this.scale(pane, null, "", "");
    else this.scale(pane, diverging, "", `direction; full at ${this.flow.full.toFixed(1)} px`, true);
  }
  // What is under the cross: grey levels, their change, displacement.
  values({ data: a, width, height }, { data: b }, fresh) {
    const [x, y] = [Math.floor(this.cross[0] * width), Math.floor(this.cross[1] * height)];
    const mean = (data) => [0, 1, 2].reduce((sum, c) => sum + data[4 * (y * width + x) + c] / 3, 0);
    const [onset, apex] = [mean(a), mean(b)];
    const grey = { onset, apex, blink: this.first ? onset : apex, swipe: x < this.view.divider * width ? onset : apex };
    const values = Object.fromEntries(Object.entries(grey).map(([kind, level]) => [kind, level.toFixed(0)]));
    Object.assign(values, { place: `x ${x}, y ${y}`, difference: signed(apex - onset) });
    if (fresh) values.flow = this.flow.planes.map((plane) => signed(plane[y * width + x])).join(", ") + " px";
    return values;
  }
  // Draws a pane with outlines, landmarks and arrows, where anything changed.
  lines(pane) {
    const { width, height, outlines, points } = this.film.info;
    const { zoom, centre, outline, points: dots, arrows } = this.view;
    const key = [pane.key, pane.canvas.clientWidth, zoom, centre, outline, dots, this.cross].join("|");
    if (pane.painted === key) return;
    pane.painted = key;
    const rings = (outlines || {})[outline] || [];
    const drawn = pane.kind === "flow" && arrows ? this.arrows(width, height) : [];
    const lines = [...rings.map((ring) => [...ring, ring[0]]), ...drawn].map((line) => [BLUE, line]);
    this.paint(pane, lines, dots ? points : [], width, height);
  }
  // The flow as arrows, four times as long as it is.
  arrows(width, height) {
    const lines = [];
    const step = Math.max(Math.floor(width / 20), 1);
    for (let y = step >> 1; y < height; y += step) {
      for (let x = step >> 1; x < width; x += step) {
        const [dx, dy] = this.flow.planes.map((plane) => 4 * plane[y * width + x]);
        const tip = (turn) => [x + dx - 0.3 * (dx - turn * dy), y + dy - 0.3 * (dy + turn * dx)];
        if (Math.hypot(dx, dy) > 1) lines.push([[x, y], [x + dx, y + dy], tip(0.6), [x + dx, y + dy], tip(-0.6)]);
      }
    }
    return lines;
  }
}

export default {
  render({ model, el }) {
    const viewer = new Viewer(model, el);
    return () => viewer.close();
  },
};
