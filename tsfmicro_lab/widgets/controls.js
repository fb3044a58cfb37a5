// The controls of the frame viewer, its timeline with two handles, and where its pictures go.

// An element with attributes, listeners (on…) and children.
function make(tag, settings = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const button = (text, title, onclick) => make("button", { type: "button", title, "aria-label": title, onclick }, text);
const row = (...parts) => make("div", { class: "tsf-row" }, ...parts);

// A labelled control whose value goes to the view under its name.
function input(viewer, name, type, title, label = name, settings = {}) {
  const tell = ({ target }) => {
    viewer.set({ [name]: type === "checkbox" ? target.checked : Number(target.value) });
  };
  const on = type === "range" ? { oninput: tell } : { onchange: tell };
  const control = make("input", { type, "aria-label": label, ...on, ...settings });
  viewer.inputs[name] = control;
  return make("label", { title }, label, control, ...(type === "range" ? [make("output")] : []));
}

function menu(viewer, name, options, title, read = String) {
  const onchange = ({ target }) => viewer.set({ [name]: read(target.value) });
  viewer.inputs[name] = make("select", { "aria-label": name, onchange }, ...options);
  return make("label", { title }, name, viewer.inputs[name]);
}

// The number of the frame at a handle, to be typed.
function frame(viewer, which) {
  const onchange = ({ target }) => viewer.grab({ [which]: viewer.film.nearest(Number(target.value)) }, true);
  const onkeydown = (event) => event.key === "Enter" && onchange(event);
  const settings = { type: "number", min: 0, "aria-label": `${which} frame`, onchange, onkeydown };
  viewer.inputs[which] = make("input", settings);
  const title = `${which}: type a frame's number, drag the handle below, or use the arrow keys on it`;
  return make("label", { title, class: `tsf-${which}` }, which, viewer.inputs[which]);
}

function handle(viewer, which) {
  const settings = { class: `tsf-handle tsf-${which}`, role: "slider", tabindex: 0, "aria-label": `${which} frame` };
  const onkeydown = (event) => viewer.key(event, which);
  const own = { title: `${which}: drag, or arrow keys; space plays`, onkeydown };
  return make("div", { ...settings, ...own }, make("span", {}, which));
}

function timeline(viewer) {
  viewer.axis = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  viewer.axis.setAttribute("role", "img");
  viewer.handles = { onset: handle(viewer, "onset"), apex: handle(viewer, "apex") };
  const onpointerdown = (event) => viewer.drag(event);
  viewer.track = make("div", { class: "tsf-track", onpointerdown }, viewer.axis, ...Object.values(viewer.handles));
  const legend = make("div", { class: "tsf-legend" });
  legend.innerHTML = `<i></i> change from the annotated onset &emsp;
    <b class="tsf-annotated">▲</b> annotated onset, apex, offset &emsp;
    <b class="tsf-spotted">▼</b> spotted apex &emsp;
    <i class="tsf-chosen"></i> onset to apex`;
  return [viewer.track, legend];
}

// Ways to compare, with one slider for what the chosen one needs.
function modes(viewer) {
  const name = `tsf-${Math.random()}`; // one group of radio buttons for each viewer
  viewer.modes = Object.keys(MODES).map((mode) => {
    return make("input", { type: "radio", name, value: mode, onchange: () => viewer.set({ mode }) });
  });
  const labels = viewer.modes.map((radio) => make("label", {}, radio, radio.value));
  const oninput = ({ target }) => viewer.set({ [MODES[viewer.view.mode][0]]: Number(target.value) });
  const slider = make("input", { type: "range", oninput });
  viewer.strength = make("label", { title: "how fast, where, or how much" }, make("span"), slider, make("output"));
  const group = { role: "radiogroup", "aria-label": "compare", class: "tsf-modes" };
  return row(make("span", group, ...labels), viewer.strength);
}

function looks(viewer) {
  const full = "grey levels of change at which the difference has its full colour";
  viewer.where = make("span", { class: "tsf-where" });
  return row(
    input(viewer, "gain", "range", full, "full colour at ±", { min: 2, max: 100 }),
    menu(viewer, "outline", [], "where an action unit moves this face"),
    input(viewer, "points", "checkbox", "landmarks of the onset frame", "landmarks"),
    input(viewer, "arrows", "checkbox", "flow as arrows, four times as long as it is"),
    make(
      "span",
      {},
      button("−", "zoom out", () => viewer.zoom(1 / 1.5)),
      button("+", "zoom in", () => viewer.zoom(1.5)),
      button("⤢", "whole picture", () => viewer.zoom(0)),
    ),
    viewer.where,
  );
}

function times(viewer) {
  const speeds = [0.05, 0.1, 0.25, 0.5, 1].map((s) => make("option", { value: s }, s === 1 ? "real time" : `× ${s}`));
  const annotated = () => {
    const [onset, apex] = viewer.film.info.reset;
    viewer.grab({ onset: 0, apex });
    viewer.grab({ onset }, true);
  };
  const spotted = () => viewer.grab({ apex: viewer.film.info.spotted }, true);
  viewer.play = button("▶", "play, or stop: the apex runs from the onset to the end", () => viewer.toggle());
  viewer.between = make("span", { class: "tsf-between" });
  viewer.status = make("span", { role: "status" });
  return row(
    viewer.play,
    menu(viewer, "speed", speeds, "how fast it plays", Number),
    frame(viewer, "onset"),
    frame(viewer, "apex"),
    viewer.between,
    button("as annotated", "as annotated: onset and apex", annotated),
    button("spotted apex", "spotted apex: the frame farthest from the annotated onset", spotted),
    viewer.status,
  );
}

function build(viewer) {
  viewer.inputs = {};
  viewer.el.append(modes(viewer), looks(viewer), viewer.grid, times(viewer), ...timeline(viewer));
}
