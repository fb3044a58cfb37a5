// Pictures of an explorer: faces, values in colour over them with their scale, outlines. They come from the kernel.
// One module with pictures.js, controls.js and panes.js, which come before.

// From dark over green to yellow, matplotlib's viridis.
const VIRIDIS = "440154 482475 414487 355f8d 2a788e 21918c 22a884 44bf70 7ad151 bddf26 fde725".split(" ").map(rgb);
const bright = (share) => {
  const at = clamp(share, 0, 1) * (VIRIDIS.length - 1);
  return mix(VIRIDIS[Math.floor(at)], VIRIDIS[Math.ceil(at)], at % 1);
};
const root = (share) => Math.sign(share) * Math.sqrt(Math.abs(share));
const short = (value) => Number(value.toPrecision(2)).toString().replace("-", "−");

class Gallery extends Panes {
  constructor(model, el) {
    super(el);
    Object.assign(this, { model, turn: 0, more: model.get("clickable") ? "; click, Enter: choose this place" : "" });
    this.where = make("div", { class: "tsf-where" });
    el.append(this.grid, this.where);
    const calls = { panes: () => this.open(), blend: () => this.refresh(true) };
    calls.past = () => el.classList.toggle("tsf-past", model.get("past"));
    for (const [name, call] of Object.entries(calls)) model.on(`change:${name}`, call);
    this.close = () => {
      for (const [name, call] of Object.entries(calls)) model.off(`change:${name}`, call);
      this.release();
    };
    calls.past();
    this.open();
  }
  get size() {
    const { width, height } = this.given.find(Boolean) || { width: 1, height: 1 };
    return { width, height };
  }
  click(place) {
    if (!this.more) return;
    this.model.set("place", place);
    this.model.save_changes();
  }
  async open() {
    const turn = (this.turn += 1);
    const given = await Promise.all(this.model.get("panes").map(async (sent) => {
      const face = sent.face && (await decode(sent.face, "image/png"));
      const [high, wide] = sent.shape || [];
      const one = { ...sent, face, high, wide };
      if (sent.values) {
        const { buffer, byteOffset, byteLength } = sent.values;
        const planes = new Int16Array(buffer.slice(byteOffset, byteOffset + byteLength));
        const count = wide * high;
        one.planes = Array.from({ length: planes.length / count }, (_, i) => planes.subarray(i * count, (i + 1) * count));
      }
      return { ...one, width: face ? face.width : wide || 1, height: face ? face.height : high || 1 };
    }));
    if (turn !== this.turn) return; // something newer is on its way
    this.given = given;
    this.columns = this.model.get("columns") || given.length;
    this.fill(given.map((one) => one.kind));
    this.refresh(true);
  }
  // Values as shares of full colour, between their own pixels; of a grid of positions in hard cells.
  share(one, x, y, plane = 0) {
    const [inX, inY] = [(x + 0.5) * (one.wide / one.width) - 0.5, (y + 0.5) * (one.high / one.height) - 0.5];
    const value = one.smooth
      ? sample(one.planes[plane], one.wide, one.high, inX, inY)
      : one.planes[plane][clamp(Math.round(inY), 0, one.high - 1) * one.wide + clamp(Math.round(inX), 0, one.wide - 1)];
    return value / 8192;
  }
  picture(one) {
    const { face, kind, width } = one;
    if (!one.planes) return face || new ImageData(1, 1);
    const page = rgb(COLOURS[theme()][5]);
    const blend = this.model.get("blend");
    return painted(one, (i) => {
      const [x, y] = [(i >> 2) % width, Math.floor((i >> 2) / width)];
      if (kind === "flow") return direction(this.share(one, x, y), this.share(one, x, y, 1));
      const share = this.share(one, x, y);
      if (!face) return kind === "signed" ? diverging(share) : bright(share);
      const grey = (face.data[i] + face.data[i + 1] + face.data[i + 2]) / 3;
      const strong = root(clamp(share, -1, 1));
      const pale = page.map((value) => value + 0.45 * (grey - value));
      return mix(pale, diverging(strong), blend * Math.abs(strong));
    });
  }
  draw() {
    if (!this.given) return;
    const at = this.cross || [];
    this.where.textContent = at.map((share, i) => `${"xy"[i]} ${(100 * share).toFixed(0)} %`).join(", ");
    for (const [i, pane] of this.panes.entries()) {
      const one = this.given[i];
      const { title, kind, limit, unit, told, outlines = [] } = one;
      const [x, y] = [at[0] * one.width, at[1] * one.height].map(Math.floor);
      const here = this.cross && one.planes
        ? ` · ${one.planes.map((_, plane) => short(limit * this.share(one, x, y, plane))).join(", ")} ${unit}`
        : "";
      pane.title.textContent = pane.title.title = title + here;
      pane.canvas.setAttribute("aria-label", `${title}; ${told}`);
      if (this.stale) {
        this.pixels(pane, this.picture(one));
        const full = `${short(limit)} ${unit}`;
        const over = one.face ? root : (share) => share;
        if (!one.planes) this.scale(pane, null, "", "");
        else if (kind === "flow") this.scale(pane, diverging, "", `direction; full at ${full}`, true);
        else if (kind === "signed") this.scale(pane, (share) => diverging(over(share)), `−${short(limit)}`, full);
        else this.scale(pane, (share) => bright((share + 1) / 2), "0", full);
      }
      const ink = theme() === "dark" ? "#fff" : "#000";
      const ring = (points) => [...points, points[0]].map(([x, y]) => [x * one.width, y * one.height]);
      const lines = outlines.flatMap(([colour, rings]) => rings.map((points) => {
        return [colour === "ink" ? ink : colour, ring(points)];
      }));
      this.paint(pane, lines, [], one.width, one.height);
    }
    this.stale = false;
  }
}

export default {
  render({ model, el }) {
    const gallery = new Gallery(model, el);
    return () => gallery.close();
  },
};
