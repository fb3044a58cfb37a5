function render({ model, el }) {
  const image = document.createElement("img");
  image.style.cssText = "display: block; max-width: 100%";
  let url = null;
  function draw() {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
    image.src = url;
    image.alt = model.get("title");
    image.style.cursor = model.get("clickable") ? "crosshair" : "default";
  }
  image.addEventListener("click", (event) => {
    if (!model.get("clickable")) return;
    const box = image.getBoundingClientRect();
    model.set("place", [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    model.save_changes();
  });
  model.on("change:value", draw);
  draw();
  el.appendChild(image);
  return () => url && URL.revokeObjectURL(url);
}
export default { render };
