// Pictures side by side: one cross and one zoom for all of them, by mouse, wheel and keys; of frames, or of maps.
class Panes {
  constructor(el) {
    Object.assign(this, { el, panes: [], cross: null, view: { zoom: 1, centre: [0.5, 0.5] } });
    el.classList.add("tsf-viewer");
    this.grid = make("div", { class: "tsf-grid" });
    // Keys are the explorer's, menus and sliders with it, not the notebook's; Ctrl + S still saves.
    const keys = ({ target, ctrlKey, metaKey, altKey }) => {
      if (!this.whole.contains(target)) return;
      target.toggleAttribute("data-lm-suppress-shortcuts", !ctrlKey && !metaKey && !altKey);
    };
    window.addEventListener("keydown", keys, true);
    const sizes = new ResizeObserver(() => this.refresh(true));
    sizes.observe(this.grid);
    const themes = new MutationObserver(() => this.refresh(true));
    themes.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
    this.release = () => {
      for (const observer of [sizes, themes]) observer.disconnect();
      window.removeEventListener("keydown", keys, true);
    };
  }
  // The explorer around the pictures.
  get whole() {
    return this.el.closest(".tsf-explorer") || this.el;
  }
  // Sliders and their numbers have a label, which is no name yet for those who do not see it.
  name() {
    for (const part of this.whole.querySelectorAll(".widget-inline-hbox .noUi-handle, .widget-readout")) {
      part.setAttribute("aria-label", part.closest(".widget-inline-hbox").querySelector(".widget-label").textContent);
      if (part.isContentEditable) part.setAttribute("role", "textbox");
    }
    for (const part of this.whole.querySelectorAll(".widget-play button")) {
      part.setAttribute("aria-label", part.firstElementChild.className.replace("fa fa-", "")); // play, stop, retweet
    }
  }
  set(change) {
    this.view = { ...this.view, ...change };
    this.refresh();
  }
  // Size of the pictures, pixels, in which the cross moves.
  get size() {
    return this.film.info;
  }
  // A drag that moves no picture, or a click: whether it was used.
  dragged() {
    return false;
  }
  // So many panes, those that are there first.
  fill(kinds) {
    this.panes = kinds.map((kind, i) => ({ ...(this.panes[i] || this.pane()), kind, key: null, told: "" }));
    this.grid.style.setProperty("--columns", this.columns || this.panes.length);
    const figures = this.panes.map((pane) => pane.figure);
    const stay = figures.length === this.grid.children.length && figures.every((f, i) => f === this.grid.children[i]);
    if (!stay) this.grid.replaceChildren(...figures); // which takes the focus
  }
  pane() {
    const help = "wheel, + and −: zoom; drag, Shift + arrows: move; arrows: cross; double click: whole picture";
    const canvas = make("canvas", { tabindex: 0, role: "img", title: help + (this.more || "") });
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
    on("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      this.moved = false;
    });
    on("pointermove", (e) => {
      this.aimed = this.aimed || e.movementX || e.movementY; // and not the page that scrolls below the pointer
      this.moved = this.moved || (e.buttons && (e.movementX || e.movementY));
      if (!e.buttons) this.point(share(e));
      else if (!this.dragged(share(e))) this.pan(-e.movementX / canvas.clientWidth, -e.movementY / canvas.clientHeight);
    });
    on("click", (e) => this.moved || e.detail > 1 || this.click(share(e)));
    on("wheel", (e) => {
      if (!this.aimed || (e.deltaY > 0 && this.view.zoom === 1)) return;
      e.preventDefault();
      this.zoom(1.2 ** -Math.sign(e.deltaY), share(e));
    });
    on("keydown", (e) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
      const [x, y] = this.cross || this.view.centre;
      const { width, height } = this.size;
      if ("+=".includes(e.key)) this.zoom(1.5, [x, y]);
      else if (e.key === "-") this.zoom(1 / 1.5, [x, y]);
      else if (e.key === "Escape") this.zoom(0);
      else if (e.key === "Enter") this.click([x, y]);
      else if (!step) return;
      else if (e.shiftKey) this.pan(step[0] / 10, step[1] / 10);
      else this.point([x + step[0] / width, y + step[1] / height].map((s) => clamp(s, 0, 0.9999)));
      e.preventDefault();
    });
    return { canvas, title, bar, figure: make("figure", {}, title, canvas, bar), source: new OffscreenCanvas(1, 1) };
  }
  click() {}
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
      if (!this.grid.isConnected) return;
      if (this.stale) this.name();
      if (!this.grid.clientWidth) setTimeout(() => this.refresh(), 500); // while the page is hidden
      else this.draw();
    });
  }
  // Gives a pane other pixels.
  pixels({ source }, picture) {
    Object.assign(source, { width: picture.width, height: picture.height });
    source.getContext("2d", CPU).putImageData(picture, 0, 0);
  }
  // What the colours of a pane mean: a bar between two texts, or a wheel of directions.
  scale({ bar }, colour, left, right, wheel = false) {
    const [before, canvas, after] = bar.children;
    bar.classList.toggle("tsf-hidden", !colour);
    bar.classList.toggle("tsf-wheel", wheel);
    [before.textContent, after.textContent] = [left, right];
    const picture = painted(wheel ? { width: 18, height: 18 } : { width: 101, height: 1 }, (i) => {
      const [x, y] = [(((i >> 2) % 18) - 8.5) / 9, (Math.floor((i >> 2) / 18) - 8.5) / 9];
      return wheel ? direction(x, y) : colour ? colour((i >> 2) / 50 - 1) : [0, 0, 0];
    });
    Object.assign(canvas, { width: picture.width, height: picture.height });
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }
  // Draws a pane as zoomed: its pixels, lines as [colour, points, …] in pixels of a picture so wide and high, dots, and the cross.
  paint(pane, lines, dots, width, height) {
    const { canvas, source } = pane;
    const scale = window.devicePixelRatio || 1;
    const wide = Math.round(canvas.clientWidth * scale);
    const high = Math.round((wide * height) / width);
    const { zoom, centre } = this.view;
    if (!wide) return;
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const context = canvas.getContext("2d", CPU);
    const factor = (wide / width) * zoom;
    const left = wide / 2 - centre[0] * width * factor;
    const top = high / 2 - centre[1] * height * factor;
    context.setTransform(factor, 0, 0, factor, left, top);
    context.imageSmoothingEnabled = (wide / source.width) * zoom < 4;
    context.drawImage(source, 0, 0, width, height);
    context.lineWidth = (1.5 * scale) / factor;
    for (const [colour, line] of lines) {
      context.strokeStyle = colour;
      context.beginPath();
      for (const [x, y] of line) context.lineTo(x + 0.5, y + 0.5);
      context.stroke();
    }
    context.fillStyle = BLUE;
    for (const [x, y] of dots) {
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
}
