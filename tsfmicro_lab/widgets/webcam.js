function render({ model, el }) {
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.style.cssText = "display: block; width: 320px; background: #eee; transform: scaleX(-1)";
  const button = document.createElement("button");
  button.className = "jupyter-button";
  const note = document.createElement("div");
  el.append(video, button, note);
  let stream = null;
  function say(status, text) {
    model.set("status", status);
    model.save_changes();
    note.textContent = text;
  }
  function release() {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
    button.disabled = false;
  }
  button.textContent = `record ${model.get("seconds")} s`;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      if (!navigator.mediaDevices) throw new Error("the page must come from localhost or over https");
      const wish = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 60 } };
      stream = await navigator.mediaDevices.getUserMedia({ video: wish });
      video.srcObject = stream;
      await video.play();
      const recorder = new MediaRecorder(stream, { mimeType: "video/webm;codecs=vp8", videoBitsPerSecond: 2e7 });
      let last = Promise.resolve();
      recorder.addEventListener("dataavailable", (event) => {
        last = last.then(async () => model.send({ kind: "part" }, undefined, [await event.data.arrayBuffer()]));
      });
      recorder.addEventListener("stop", async () => {
        await last;
        model.send({ kind: "end" });
        release();
      });
      model.send({ kind: "begin" });
      say("recording", "recording: hold your head still, then smile for a blink of an eye");
      recorder.start(250);
      setTimeout(() => recorder.stop(), 1000 * model.get("seconds"));
    } catch (error) {
      release();
      say("failed", `No recording: ${error.message}. Allow this page the camera, or record with another program.`);
    }
  });
  model.on("change:status", () => {
    if (model.get("status") === "done") note.textContent = `kept in ${model.get("path")}, nowhere else`;
    if (model.get("status") === "cut off") note.textContent = `too large: cut off, kept in ${model.get("path")}`;
  });
  return release;
}
export default { render };
