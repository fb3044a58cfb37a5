// What the frame viewer shows, computed of two frames and their optical flow.

// From purple (darker) over nothing to orange (brighter), ColorBrewer's PuOr; on a dark page nothing is dark.
const COLOURS = {
  light: "2d004b 542788 8073ac b2abd2 d8daeb f7f7f7 fee0b6 fdb863 e08214 b35806 7f3b08".split(" "),
  dark: "e4dcff b9a8f5 8a72d8 5c45a3 33275c 161616 5a3208 99570a d98218 ffb347 ffe3b3".split(" "),
};
const CPU = { willReadFrequently: true }; // pixels come from numbers and never rest in a graphics card
const BLUE = "#00a3b4"; // of outlines, landmarks, arrows and the cross
const CACHE = 192 * 2 ** 20; // bytes of decoded frames

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);
const theme = () => (document.body.dataset.jpThemeLight === "false" ? "dark" : "light");

const rgb = (hex) => [16, 8, 0].map((shift) => (parseInt(hex, 16) >> shift) & 255);
const mix = (a, b, share) => a.map((value, c) => value + share * (b[c] - value));

// Colour of a change between -1 and 1.
function diverging(share) {
  const stops = COLOURS[theme()];
  const at = clamp((share + 1) / 2, 0, 1) * (stops.length - 1);
  return mix(rgb(stops[Math.floor(at)]), rgb(stops[Math.ceil(at)]), at % 1);
}

// Colour of a displacement: its hue is the direction, right is red, down yellow-green; full at length 1.
function direction(dx, dy) {
  const hue = ((Math.atan2(dy, dx) * 3) / Math.PI + 6) % 6;
  const pure = [0, 4, 2].map((turn) => 255 * clamp(Math.abs(((hue + turn) % 6) - 3) - 1, 0, 1));
  return mix(rgb(COLOURS[theme()][5]), pure, Math.min(Math.hypot(dx, dy), 1));
}

async function decode(bytes, type) {
  const picture = await createImageBitmap(new Blob([bytes], { type }));
  const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d", CPU);
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, picture.width, picture.height);
}

// Value of a plane between its pixels, bilinear; of every so many numbers the first, or another.
function sample(plane, width, height, x, y, step = 1, first = 0) {
  const inX = clamp(x, 0, width - 1);
  const inY = clamp(y, 0, height - 1);
  const left = Math.floor(inX);
  const top = Math.floor(inY);
  const right = left < width - 1 ? step : 0;
  const below = top < height - 1 ? step * width : 0;
  const at = step * (top * width + left) + first;
  const above = plane[at] + (inX - left) * (plane[at + right] - plane[at]);
  const under = plane[at + below] + (inX - left) * (plane[at + below + right] - plane[at + below]);
  return above + (inY - top) * (under - above);
}

// The pictures that a pane can show, each computed of onset `a` and apex `b` (ImageData).
const PICTURES = {
  onset: ({ a }) => a,
  apex: ({ b }) => b,
  blink: ({ a, b, first }) => (first ? a : b),
  swipe: ({ a, b, view }) => {
    const border = Math.round(view.divider * a.width);
    return changed(a, (i) => ((i >> 2) % a.width < border ? a.data[i] : b.data[i]));
  },
  amplified: ({ a, b, view }) => changed(a, (i) => a.data[i] + view.times * (b.data[i] - a.data[i])),
  // Each pixel of the apex is carried on along its flow, which is known where it was at rest, not where it arrives.
  magnified: ({ b, view, flow, fresh }) => {
    if (!fresh) return b;
    const { width, height } = b;
    const [across, down] = flow.planes;
    const picture = new ImageData(width, height);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i += 4) {
        let dx = across[i >> 2];
        let dy = down[i >> 2];
        for (let n = 0; n < 3; n++) {
          const fromX = x - view.factor * dx;
          const fromY = y - view.factor * dy;
          dx = sample(across, width, height, fromX, fromY);
          dy = sample(down, width, height, fromX, fromY);
        }
        const fromX = x - (view.factor - 1) * dx;
        const fromY = y - (view.factor - 1) * dy;
        for (let c = 0; c < 4; c++) picture.data[i + c] = sample(b.data, width, height, fromX, fromY, 4, c);
      }
    }
    return picture;
  },
  difference: ({ a, b, view }, pane) => {
    const table = colourTable(view.gain);
    const picture = new ImageData(a.width, a.height);
    const pixels = new Uint32Array(picture.data.buffer);
    let [sum, largest] = [0, 0];
    for (let i = 0, p = 0; p < pixels.length; p++, i += 4) {
      const change = b.data[i] - a.data[i] + b.data[i + 1] - a.data[i + 1] + b.data[i + 2] - a.data[i + 2];
      pixels[p] = table[change + 765];
      sum += Math.abs(change);
      if (Math.abs(change) > Math.abs(largest)) largest = change;
    }
    const mean = (sum / 3 / pixels.length).toFixed(1);
    pane.told = `difference: on average ${mean} grey levels, at most ${signed(largest / 3)}`;
    return picture;
  },
  flow: ({ a, view, flow }, pane) => {
    if (!flow) return changed(a, () => 127);
    const { planes, full, longest } = flow;
    pane.told = `optical flow: at most ${longest.toFixed(1)} px`;
    if (!view.arrows) return painted(a, (i) => direction(planes[0][i >> 2] / full, planes[1][i >> 2] / full));
    const page = rgb(COLOURS[theme()][5]);
    return changed(a, (i) => a.data[i] + 0.6 * (page[i % 4] - a.data[i]));
  },
};

// What each of them depends on: while that stays, the picture stays.
const READS = {
  onset: "onset", apex: "apex", blink: "onset apex first", swipe: "onset apex divider", amplified: "onset apex times",
  magnified: "apex factor fresh", difference: "onset apex gain", flow: "arrows",
};

// Colours of all sums of changes of three channels, -765 to 765, as pixels.
const tables = {};
function colourTable(gain) {
  const key = theme() + gain;
  tables[key] = tables[key] || Uint32Array.from({ length: 1531 }, (_, i) => {
    const [red, green, blue] = diverging((i - 765) / 3 / gain).map(Math.round);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
  return tables[key];
}

function changed({ width, height }, value) {
  const picture = new ImageData(width, height);
  for (let i = 0; i < picture.data.length; i++) picture.data[i] = i % 4 === 3 ? 255 : value(i);
  return picture;
}

function painted({ width, height }, colour) {
  const picture = new ImageData(width, height);
  for (let i = 0; i < picture.data.length; i += 4) {
    [picture.data[i], picture.data[i + 1], picture.data[i + 2]] = colour(i);
    picture.data[i + 3] = 255;
  }
  return picture;
}

// The frames that were sent, decoded when they are wanted, and all in turn as long as they fit into the memory.
class Film {
  constructor(model, arrived) {
    [this.info, this.numbers, this.bytes] = ["info", "numbers", "frames"].map((name) => model.get(name));
    Object.assign(this, { arrived, pixels: new Map(), waiting: new Map(), open: true });
    this.prefetch();
  }
  nearest(number) {
    const off = (n) => Math.abs(n - number);
    return this.numbers.reduce((best, n) => (off(n) < off(best) ? n : best), this.numbers[0]);
  }
  step(number, by) {
    return this.numbers[clamp(this.numbers.indexOf(number) + by, 0, this.numbers.length - 1)];
  }
  at(number) {
    if (!this.pixels.has(number)) this.load(number);
    return this.pixels.get(number);
  }
  async load(number) {
    if (this.waiting.has(number)) return this.waiting.get(number);
    this.waiting.set(number, decode(this.bytes[this.numbers.indexOf(number)], this.info.type));
    const pixels = await this.waiting.get(number);
    this.waiting.delete(number);
    this.pixels.set(number, pixels);
    const most = Math.max(CACHE / pixels.data.length, 4);
    for (const old of this.pixels.keys()) if (this.pixels.size > most) this.pixels.delete(old);
    if (this.open) this.arrived(number);
  }
  async prefetch() {
    const fit = Math.floor(CACHE / (4 * this.info.width * this.info.height));
    for (const n of this.bytes.length ? this.numbers.slice(0, fit) : []) {
      if (this.open && !this.pixels.has(n)) await this.load(n);
    }
  }
}

export { PICTURES };
