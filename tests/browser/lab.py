"""JupyterLab with the explorers in one notebook, opened in Chromium; what a reader sees of it and does to it."""

import copy
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import nbformat
import pytest
from conftest import ROOT
from gate import PARAMETERS
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

TOKEN = "course"
COURSE = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

ERROR = ".jp-OutputArea-output:has-text('Traceback (most recent call last)')"
#: No news; every cell in the page, also those that nobody has scrolled to; widgets are saved with their notebook.
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
}

#: Every canvas of the viewer as a short digest of its pixels.
PANES = """canvases => canvases.map(canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((sum, value, i) => (sum * 31 + value * (i % 7 + 1)) % 1000000007, 7);
})"""

SETUP = """
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from studies.results_explorer import ResultsExplorer
from studies.retention_explorer import RetentionExplorer
from tsfmicro_lab.widgets import *

data = SyntheticMicroExpressions(2, 5, image_size=96, seed=3, distractors=Distractors.none())
samples = prepare(data, 56, progress=False)
model = create_model("tsfmicro_late", 5, seed=1).eval()
"""
#: A run to browse; only in the notebook.
RUNS = """
from tsfmicro_lab.training import Recipe, Run, cross_validate
run = Run("tsfmicro_late", recipe=Recipe(epochs=1))
cross_validate(samples, run, folder="runs/late", keep_models=True, progress=False)
"""
#: By name, what a cell of the notebook ends with.
EXPLORERS = {
    "onset_apex": "OnsetApexExplorer(data, model, samples.classes, size=160)",
    "where_how": "WhereHowExplorer(model, data, samples.classes, size=160)",
    "fusion": "FusionExplorer(model, samples)",
    "retention": "RetentionExplorer(model, samples)",
    "studio": "FaceStudio(size=128)",
    "results": "ResultsExplorer('runs', samples)",
}


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI"):
        pytest.fail("no Chromium on a machine that checks the project: apt-get install chromium")
    return pytest.skip("no Chromium here: apt-get install chromium")


@contextmanager
def running_lab(folder, recording):
    """JupyterLab on a free local port over a folder with a notebook of all explorers, and the lessons."""
    cells = [SETUP + RUNS, *(f"{name} = {call}\n{name}" for name, call in EXPLORERS.items())]
    cells += [f"WebcamRecorder({str(recording)!r}, seconds=3)", "fusion.snapshot()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.strip()) for c in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "explorers.ipynb")
    for name in COURSE:
        notebook = load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
        nbformat.write(parameterize_notebook(notebook, PARAMETERS.get(name, {})), folder / f"{name}.ipynb")
    for beside in ("results", "studies"):  # as notebooks find them
        shutil.copytree(ROOT / "notebooks" / beside, folder / beside)
    for extension, content in SETTINGS.items():
        path = folder / ".settings" / f"{extension}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    environment = {**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"), "PYTHONPATH": str(ROOT)}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([*command, *arguments], stdout=log, stderr=log, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def ask(lab, what, method="GET"):
    """Asks the server about its kernels."""
    request = urllib.request.Request(f"{lab}/api/{what}", method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or "null")


def end_kernels(lab):
    for kernel in ask(lab, "kernels"):
        ask(lab, f"kernels/{kernel['id']}", "DELETE")


def wait_for(true, seconds=20, told=lambda: ""):
    """Waits until something holds; then gives what it said."""
    began = time.perf_counter()
    while not (said := true()):
        assert time.perf_counter() - began < seconds, told()
        time.sleep(0.02)
    return said


class Notebook:
    """A notebook that has been opened and run; `root` is the part that is looked at."""

    def __init__(self, browser, lab, name):
        self.name, self.errors, self.sent = name, [], []
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.root = self.page.locator("body")
        self.page.on("websocket", lambda socket: socket.on("framesent", lambda m: self.sent.append(m)))
        self.page.set_default_timeout(90_000)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.goto(f"{lab}/lab/tree/{name}.ipynb?token={TOKEN}&reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    def run(self):
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt")
        for _ in range(8):  # a kernel that says it is idle may yet be connecting, and then forgets what it was asked
            self.page.get_by_text("Run", exact=True).first.click()
            self.page.get_by_text("Run All Cells", exact=True).first.click()
            try:
                wait_for(lambda: re.search(r"[*\d]", prompts.first.inner_text()), 3)
                break
            except AssertionError:
                continue

        def done():
            assert not self.page.locator(ERROR).count(), self.page.locator(ERROR).first.inner_text()[-500:]
            told = prompts.all_inner_texts()
            return re.search(r"\d", told[-1]) and "*" not in "".join(told)

        wait_for(done, 240)
        self.page.locator(".jupyter-widgets img, .tsf-viewer").first.wait_for()
        return self

    def at(self, name):
        """One of the explorers in it, in view."""
        part = copy.copy(self)
        part.name, cell = name, self.page.locator(".jp-CodeCell").nth(1 + list(EXPLORERS).index(name))
        part.root = cell.locator(".jp-OutputArea .widget-vbox").first
        part.root.evaluate("element => element.scrollIntoView()")
        part.settle()
        return part

    def pictures(self):
        """Each picture's own bytes, by a short digest: its address is new whenever it is drawn again."""
        script = """async images => Promise.all(images.filter(image => image.checkVisibility()).map(async image => {
            const bytes = await (await fetch(image.src)).arrayBuffer();
            const digest = await crypto.subtle.digest("SHA-1", bytes);
            return Array.from(new Uint8Array(digest)).map(b => b.toString(16)).join("");
        }))"""
        drawn = self.root.locator(".tsf-grid > figure > canvas").evaluate_all(PANES)
        return self.root.locator(".jupyter-widgets img").evaluate_all(script) + drawn

    def settle(self, seconds=20):
        """Waits until pictures stay what they are for a moment; they are drawn with the next frame of the screen."""
        before, began = None, time.perf_counter()
        while (now := self.pictures()) != before or time.perf_counter() - began < 0.15:
            assert time.perf_counter() - began < seconds, "pictures never stay"
            before = now
            time.sleep(0.1)
        return before

    def slider(self, label):
        row = self.root.locator(".widget-inline-hbox", has=self.page.locator(f".widget-label:text-is('{label}')"))
        return row.locator(".noUi-handle").first

    def messages(self):
        """How many messages of widgets were sent to the kernel."""
        self.page.evaluate("0")  # events come with an answer of the page
        return sum(b"comm_msg" in (m if isinstance(m, bytes) else m.encode()) for m in self.sent)

    def text(self):
        return " ".join(
            self.root.locator(".jupyter-widgets.widget-html, .jupyter-widgets.widget-label").all_inner_texts()
        )

    def wait_for_text(self, *texts):
        wait_for(lambda: all(text in self.text() for text in texts), told=lambda: f"{texts} not in {self.text()}")

    def wait_for_change(self, before, seconds=20):
        began = time.perf_counter()
        now = wait_for(lambda: (now := self.pictures()) != before and now, seconds, lambda: "no picture changed")
        return time.perf_counter() - began, now

    def press(self, label, key="ArrowRight"):
        handle = self.slider(label)
        handle.scroll_into_view_if_needed()
        handle.focus()
        before = self.pictures()
        self.page.keyboard.press(key)
        return self.wait_for_change(before)

    def check(self):
        """Leaves a screenshot, and asserts that the browser's console and the notebook tell no error."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{self.name}.png")
        failed = self.page.locator(ERROR).all_inner_texts()
        told, self.errors[:] = [*self.errors], []
        assert not told, told
        assert not failed, failed[0][-500:]


class Viewer:
    """The frame viewer of a notebook, as a reader uses it."""

    def __init__(self, page):
        self.page, self.root = page, page.locator(".tsf-viewer", has=page.locator(".tsf-track")).first
        self.root.wait_for()
        self.root.evaluate("element => element.scrollIntoView()")
        self.onset, self.apex = (self.root.get_by_role("slider", name=f"{which} frame") for which in ("onset", "apex"))

    def panes(self):
        return self.root.locator(".tsf-grid > figure > canvas").evaluate_all(PANES)

    def titles(self):
        return self.root.locator("figcaption").all_inner_texts()

    def at(self, handle):
        return int(handle.get_attribute("aria-valuenow"))

    def wait_for(self, true, seconds=20):
        return wait_for(true, seconds, self.titles)

    def settle(self):
        """Waits until pictures stay, and flow is that of these frames."""
        before = None
        while (now := self.panes()) != before or self.root.locator(".tsf-past").count():
            before = now
            time.sleep(0.1)
        return now

    def compare(self, mode):
        self.root.get_by_role("radio", name=mode).check()
        self.wait_for(lambda: len(self.titles()) == (4 if mode == "side by side" else 3))
        time.sleep(0.1)
