// Frames of a clip, sent once: scrubbing, playing and comparing happen here and need no kernel. What handles and
// switches are set to goes to the kernel when they come to rest; from there come the frames and the optical flow.
// One module with pictures.js and controls.js, which come before.

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

class Viewer {
  constructor(model, el) {
    Object.assign(this, { model, el, panes: [], cross: null, first: true, playing: 0, view: { ...VIEW, ...DRAWN } });
    el.classList.add("tsf-viewer");
    build(this);
    const calls = { frames: () => this.open(), flow: () => this.readFlow(), view: () => this.restore() };
    calls.onset = calls.apex = () => this.grab({ onset: model.get("onset"), apex: model.get("apex") });
    for (const [name, call] of Object.entries(calls)) {
      calls[name] = () => this.telling || call(); // what this viewer tells, it knows
      model.on(`change:${name}`, calls[name]);
    }
    // Arrows and Enter are the viewer's, not the notebook's; Ctrl + S still saves.
    const keys = ({ target, ctrlKey, metaKey, altKey }) => {
      const own = el.contains(target) && !ctrlKey && !metaKey && !altKey;
      if (el.contains(target)) target.toggleAttribute("data-lm-suppress-shortcuts", own);
    };
    window.addEventListener("keydown", keys, true);
    const sizes = new ResizeObserver(() => this.refresh(true));
    sizes.observe(this.grid);
    const themes = new MutationObserver(() => this.refresh(true));
    themes.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
    this.close = () => {
      for (const [name, call] of Object.entries(calls)) model.off(`change:${name}`, call);
      for (const observer of [sizes, themes]) observer.disconnect();
      window.removeEventListener("keydown", keys, true);
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
    this.panes = kinds.map((kind, i) => ({ ...(this.panes[i] || this.pane()), kind, key: null, told: "" }));
    this.grid.style.setProperty("--columns", this.panes.length);
    const figures = this.panes.map((pane) => pane.figure);
    const stay = figures.length === this.grid.children.length && figures.every((f, i) => f === this.grid.children[i]);
    if (!stay) this.grid.replaceChildren(...figures); // which takes the focus
    clearInterval(this.blinking);
    this.blinking = this.view.mode === "blink" && setInterval(() => {
      this.first = !this.first;
      this.refresh();
    }, this.view.interval);
    this.refresh(true);
  }
  pane() {
    const settings = { tabindex: 0, role: "img" };
    const help = "wheel, + and −: zoom; drag, Shift + arrows: move; arrows: cross; double click: whole picture";
    const canvas = make("canvas", { ...settings, title: help });
    const title = make("figcaption");
    const bar = make("div", { class: "tsf-bar" }, make("span"), make("canvas"), make("span"));
    const share = (e) => {
      const box = canvas.getBoundingClientRect();
      return this.inside([(e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height]);
    };
    const on = (name, call) => canvas.addEventListener(name, call, { passive: false });
    on("pointerleave", () => this.point((this.aimed = null)));
    on("blur", () => this.point(null));
    on("dblclick", () => this.zoom(0));
    on("pointerdown", (e) => canvas.setPointerCapture(e.pointerId));
    on("pointermove", (e) => {
      this.aimed = this.aimed || e.movementX || e.movementY; // and not the page that scrolls below the pointer
      if (!e.buttons) this.point(share(e));
      else if (this.view.mode === "swipe" && this.view.zoom === 1) this.set({ divider: share(e)[0] });
      else this.pan(-e.movementX / canvas.clientWidth, -e.movementY / canvas.clientHeight);
    });
    on("wheel", (e) => {
      if (!this.aimed || (e.deltaY > 0 && this.view.zoom === 1)) return;
      e.preventDefault();
      this.zoom(1.2 ** -Math.sign(e.deltaY), share(e));
    });
    on("keydown", (e) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
      const [x, y] = this.cross || this.view.centre;
      const { width, height } = this.film.info;
      if ("+=".includes(e.key)) this.zoom(1.5, [x, y]);
      else if (e.key === "-") this.zoom(1 / 1.5, [x, y]);
      else if (e.key === "Escape") this.zoom(0);
      else if (!step) return;
      else if (e.shiftKey) this.pan(step[0] / 10, step[1] / 10);
      else this.point([x + step[0] / width, y + step[1] / height].map((s) => clamp(s, 0, 0.9999)));
      e.preventDefault();
    });
    return { canvas, title, bar, figure: make("figure", {}, title, canvas, bar), source: new OffscreenCanvas(1, 1) };
  }
  // From shares of the pane to shares of the picture.
  inside(place) {
    const { zoom, centre } = this.view;
    return place.map((share, i) => clamp(centre[i] + (share - 0.5) / zoom, 0, 0.9999));
  }
  pan(dx, dy) {
    const { zoom, centre } = this.view;
    this.set({ centre: [dx, dy].map((by, i) => clamp(centre[i] + by / zoom, 0.5 / zoom, 1 - 0.5 / zoom)) });
  }
  // Zooms so that a place stays where it is; 0 shows the whole picture.
  zoom(by, place = this.view.centre) {
    const zoom = by ? clamp(this.view.zoom * by, 1, 32) : 1;
    const centre = this.view.centre.map((c, i) => place[i] + ((c - place[i]) * this.view.zoom) / zoom);
    this.view = { ...this.view, zoom, centre };
    this.pan(0, 0);
  }
  point(place) {
    this.cross = place;
    this.refresh();
  }
  // Draws with the next picture of the screen; `all` computes every picture anew.
  refresh(all = false) {
    this.stale = this.stale || all;
    this.due = this.due || requestAnimationFrame(() => {
      this.due = 0;
      if (!this.film.open) return;
      if (!this.track.clientWidth) setTimeout(() => this.refresh(), 500); // while the page is hidden
      else if (this.film.bytes.length) this.draw();
    });
  }
  draw() {
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
      const { kind, title, figure, canvas, source } = pane;
      const key = READS[kind].split(" ").map((name) => ({ ...view, onset, apex, first, fresh })[name]).join();
      if (this.stale || pane.key !== key) {
        const picture = PICTURES[kind]({ a, b, view, first, flow: this.flow, fresh }, pane);
        Object.assign(source, { width: picture.width, height: picture.height });
        source.getContext("2d", CPU).putImageData(picture, 0, 0);
        this.scale(pane);
        pane.key = key;
        pane.painted = null;
      }
      const past = ["flow", "magnified"].includes(kind) && !fresh;
      figure.classList.toggle("tsf-past", past);
      const whose = kind === "flow" && this.flow.pair.length ? ` of ${this.flow.pair.join(" to ")}` : ": to come";
      title.textContent = titles[kind] + (past ? whose : "") + (kind in values ? ` · ${values[kind]}` : "");
      const told = `${pane.told || titles[kind]}; ${film.info.name}, onset ${onset}, apex ${apex}`;
      canvas.setAttribute("aria-label", told);
      this.paint(pane);
    }
    this.stale = false;
  }
  // What the colours of a pane mean: a bar of grey levels, or a wheel of directions.
  scale({ kind, bar }) {
    const [left, canvas, right] = bar.children;
    const key = [kind, this.view.gain, this.view.arrows, theme()].join();
    if (bar.key === key) return;
    bar.key = key;
    bar.classList.toggle("tsf-hidden", kind !== "difference" && (kind !== "flow" || this.view.arrows));
    bar.classList.toggle("tsf-wheel", kind === "flow");
    const wheel = kind === "flow";
    const picture = painted(wheel ? { width: 18, height: 18 } : { width: 101, height: 1 }, (i) => {
      const [x, y] = [(((i >> 2) % 18) - 8.5) / 9, (Math.floor((i >> 2) / 18) - 8.5) / 9];
      return wheel ? direction(x, y) : diverging((i >> 2) / 50 - 1);
    });
    Object.assign(canvas, { width: picture.width, height: picture.height });
    canvas.getContext("2d").putImageData(picture, 0, 0);
    left.textContent = wheel ? "" : `−${this.view.gain}`;
    right.textContent = wheel ? `direction; full at ${this.flow.full.toFixed(1)} px` : `+${this.view.gain} grey levels`;
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
  // Draws a pane: its pixels as zoomed, arrows, outlines, landmarks and the cross.
  paint(pane) {
    const { kind, canvas, source } = pane;
    const { width, height, outlines, points } = this.film.info;
    const scale = window.devicePixelRatio || 1;
    const wide = Math.round(canvas.clientWidth * scale);
    const high = Math.round((wide * height) / width);
    const { zoom, centre, outline, points: dots } = this.view;
    const key = [pane.key, wide, zoom, centre, outline, dots, this.cross].join("|");
    if (!wide || pane.painted === key) return;
    pane.painted = key;
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const context = canvas.getContext("2d", CPU);
    const factor = (wide / width) * this.view.zoom;
    const left = wide / 2 - centre[0] * width * factor;
    const top = high / 2 - centre[1] * height * factor;
    context.setTransform(factor, 0, 0, factor, left, top);
    context.imageSmoothingEnabled = factor < 4;
    context.drawImage(source, 0, 0);
    context.strokeStyle = context.fillStyle = "#00a3b4";
    context.lineWidth = (1.5 * scale) / factor;
    const rings = (outlines || {})[this.view.outline] || [];
    const arrows = kind === "flow" && this.view.arrows ? this.arrows(width, height) : [];
    for (const line of [...rings.map((ring) => [...ring, ring[0]]), ...arrows]) {
      context.beginPath();
      for (const [x, y] of line) context.lineTo(x + 0.5, y + 0.5);
      context.stroke();
    }
    for (const [x, y] of this.view.points ? points : []) {
      context.beginPath();
      context.arc(x + 0.5, y + 0.5, (2.5 * scale) / factor, 0, 7);
      context.fill();
    }
    context.resetTransform();
    if (!this.cross) return;
    context.globalAlpha = 0.8;
    context.fillRect(left + this.cross[0] * width * factor, 0, scale, high);
    context.fillRect(0, top + this.cross[1] * height * factor, wide, scale);
    context.globalAlpha = 1;
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
