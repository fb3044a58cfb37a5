"""The widgets in a real JupyterLab in a real browser. Screenshots go to build/screenshots."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import product

import cv2
import nbformat
import pytest
from conftest import ROOT
from gate import PARAMETERS
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright import sync_api as playwright
from takes import long_take

from tsfmicro_lab.analyze import analyze

TOKEN = "course"
COURSE = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
#: Every lesson runs under Papermill; in a browser all of them at night, otherwise one of each kind of explorer.
OPENED = COURSE if os.environ.get("TSFMICRO_SEEDS") else [n for n in COURSE if n[:2] in ("00", "06", "09", "14")]
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

ERROR = ".jp-OutputArea-output:has-text('Traceback (most recent call last)')"
#: No news, and every cell in the page, also those that nobody has scrolled to.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}

SETUP = """
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.widgets import *

data = SyntheticMicroExpressions(2, 5, image_size=96, seed=3, distractors=Distractors.none())
samples = prepare(data, 56, progress=False)
model = create_model("tsfmicro_late", 5, seed=1).eval()
"""
EXPLORERS = {
    "fusion": "FusionExplorer(model, samples)",
    "retention": "RetentionExplorer(model, samples)",
    "onset_apex": "OnsetApexExplorer(data, model, samples.classes, size=160)",
    "where_how": "WhereHowExplorer(model, data, samples.classes, size=160)",
    "studio": "FaceStudio(size=128)",
}


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI"):
        pytest.fail("no Chromium on a machine that checks the project: apt-get install chromium")
    return pytest.skip("no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, whose camera shows a drawn face that moves once."""
    camera = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    take = long_take(seed=203, expressions=1)
    with camera.open("wb") as file:
        for i in range(0, len(take.frames), 7):
            frame = cv2.resize(cv2.cvtColor(take.frames[i], cv2.COLOR_RGB2BGR), (480, 480))
            file.write(cv2.imencode(".jpg", frame)[1].tobytes())
    flags = [f"--use-file-for-fake-video-capture={camera}", "--use-fake-device-for-media-stream"]
    with playwright.sync_playwright() as p:
        arguments = [*FLAGS, *flags, "--use-fake-ui-for-media-stream"]
        browser = p.chromium.launch(executable_path=chromium(), args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return tmp_path_factory.mktemp("recording") / "webcam.webm"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser, recording):
    """JupyterLab on a free local port over a folder with one notebook per explorer."""
    folder, settings = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("settings")
    notebooks = {
        name: [SETUP, f"explorer = {call}\nexplorer", "explorer.snapshot()"] for name, call in EXPLORERS.items()
    }
    notebooks["webcam"] = [SETUP, f"WebcamRecorder({str(recording)!r}, seconds=3)", "FusionExplorer(model, samples)"]
    for name, cells in notebooks.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.strip()) for c in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name in COURSE:
        notebook = load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
        nbformat.write(parameterize_notebook(notebook, PARAMETERS.get(name, {})), folder / f"{name}.ipynb")
    for beside in ("results", "studies"):  # as notebooks find them
        shutil.copytree(ROOT / "notebooks" / beside, folder / beside)
    for extension, content in SETTINGS.items():
        path = settings / "@jupyterlab" / f"{extension}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    environment = {**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(settings), "PYTHONPATH": str(ROOT)}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([*command, *arguments], stdout=log, stderr=log, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def ask(lab, what, method="GET"):
    """Asks the server about its kernels."""
    request = urllib.request.Request(f"{lab}/api/{what}", method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or "null")


class Notebook:
    """A notebook that has been opened and run."""

    def __init__(self, browser, lab, name):
        self.name, self.errors = name, []
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.set_default_timeout(90_000)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.goto(f"{lab}/lab/tree/{name}.ipynb?token={TOKEN}&reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    def run(self):
        for _ in range(5):  # a kernel that says it is idle may yet be connecting, and then forgets what it was asked
            self.page.get_by_text("Run", exact=True).first.click()
            self.page.get_by_text("Run All Cells", exact=True).first.click()
            time.sleep(3)
            if re.search(r"[*\d]", self.page.locator(".jp-CodeCell .jp-InputPrompt").first.inner_text()):
                break
        for _ in range(360):
            prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
            if re.search(r"\d", prompts[-1]) and "*" not in "".join(prompts):
                break
            assert not self.page.locator(ERROR).count(), self.page.locator(ERROR).first.inner_text()[-500:]
            time.sleep(0.5)
        self.page.locator(".jupyter-widgets img").first.wait_for()
        time.sleep(0.5)
        return self

    def pictures(self):
        """Each picture's own bytes, by a short digest: its address is new whenever it is drawn again."""
        script = """async images => Promise.all(images.map(async image => {
            const bytes = await (await fetch(image.src)).arrayBuffer();
            const digest = await crypto.subtle.digest("SHA-1", bytes);
            return Array.from(new Uint8Array(digest)).map(b => b.toString(16)).join("");
        }))"""
        return self.page.locator(".jupyter-widgets img").evaluate_all(script)

    def slider(self, label):
        row = self.page.locator(".widget-inline-hbox", has=self.page.locator(f".widget-label:text-is('{label}')"))
        return row.locator(".noUi-handle").first

    def text(self):
        return " ".join(
            self.page.locator(".jupyter-widgets.widget-html, .jupyter-widgets.widget-label").all_inner_texts()
        )

    def wait_for_change(self, before, seconds=20):
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            if (now := self.pictures()) != before:
                return time.perf_counter() - began, now
            time.sleep(0.01)
        raise AssertionError("no picture changed")

    def press(self, label, key="ArrowRight"):
        handle = self.slider(label)
        handle.scroll_into_view_if_needed()
        handle.focus()
        before = self.pictures()
        self.page.keyboard.press(key)
        return self.wait_for_change(before)

    def close(self):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{self.name}.png")
        failed = self.page.locator(ERROR).all_inner_texts()
        self.page.close()
        assert not self.errors, self.errors
        assert not failed, failed[0][-500:]


@pytest.fixture
def open_notebook(browser, lab):
    opened = []

    def open_one(name):
        opened.append(Notebook(browser, lab, name))
        return opened[-1].run()

    yield open_one
    for notebook in opened:
        notebook.close()
    for kernel in ask(lab, "kernels"):
        ask(lab, f"kernels/{kernel['id']}", "DELETE")


@pytest.fixture(scope="module")
def library():
    """The explorers again, in this process: what the browser shows must be what they say."""
    scope = {}
    exec(SETUP, scope)
    return lambda name: eval(EXPLORERS[name], scope)


def test_fusion_weights_move_numbers_and_maps(open_notebook, library):
    notebook, expected = open_notebook("fusion"), library("fusion")
    seconds = [notebook.press("weight of where", "ArrowLeft")[0] for _ in range(4)]
    print(f"slider steps took {[round(s, 3) for s in seconds]} s")
    expected.where_weight.value = 0.8
    for number in expected.bars["late"].numbers:
        assert number.value in notebook.text()
    notebook.page.get_by_role("button", name="as trained").click()
    expected.reset()
    notebook.page.get_by_text(expected.bars["late"].numbers[0].value).wait_for()


def test_a_click_on_a_retention_map_moves_the_query(open_notebook, library):
    notebook, expected = open_notebook("retention"), library("retention")
    before = notebook.pictures()
    notebook.page.locator(".jupyter-widgets img").nth(2).click(position={"x": 40, "y": 200})
    notebook.wait_for_change(before)
    time.sleep(1)
    expected.tiles[0].image.place = [40 / 240, 200 / 240]
    assert expected.story.value in notebook.text()
    notebook.press("decay")


def test_onset_and_apex_sliders_by_keyboard_and_mouse(open_notebook, library):
    notebook, expected = open_notebook("onset_apex"), library("onset_apex")
    assert re.sub("<.*?>", "", expected.story.value) in notebook.text()
    for _ in range(3):
        notebook.press("apex", "ArrowLeft")
    time.sleep(0.5)
    expected.apex.value -= 3
    assert re.sub("<.*?>", "", expected.story.value) in notebook.text()
    assert expected.bars.numbers[2].value in notebook.text()
    handle = notebook.slider("onset").bounding_box()
    before = notebook.pictures()
    notebook.page.mouse.move(handle["x"] + 5, handle["y"] + 5)
    notebook.page.mouse.down()
    notebook.page.mouse.move(handle["x"] + 25, handle["y"] + 5, steps=5)
    notebook.page.mouse.up()
    notebook.wait_for_change(before)


def test_a_region_is_held_still_by_its_button(open_notebook, library):
    notebook, expected = open_notebook("where_how"), library("where_how")
    before = notebook.pictures()
    notebook.page.get_by_role("button", name=re.compile("^12 lip corner")).click()
    notebook.wait_for_change(before)
    time.sleep(1)
    expected.still["12"].value = True
    assert expected.bars.numbers[0].value in notebook.text()


def test_the_studio_plays(open_notebook):
    notebook = open_notebook("studio")
    notebook.press("4 brow lowerer")
    before = notebook.pictures()
    notebook.page.locator(".jupyter-widgets.widget-play button, .widget-play button").first.click()
    notebook.wait_for_change(before)


def test_the_camera_is_recorded_and_the_recording_read(open_notebook, recording, landmarker):
    notebook = open_notebook("webcam")
    notebook.page.get_by_role("button", name="record 3 s").click()
    notebook.page.get_by_text(f"kept in {recording}").wait_for(timeout=30_000)
    found = analyze(recording, progress=False)
    assert found.video.size == (480, 480)
    assert 2 < found.trace.times[-1] < 4.5
    assert (found.trace.searches.faces == 1).all()
    assert "frames per second" in found.notes[0]


def test_a_still_picture_stays_when_a_notebook_is_reopened_without_a_kernel(browser, lab, open_notebook):
    notebook = open_notebook("fusion")
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("Control+s")
    time.sleep(3)
    reopened = browser.new_page()
    reopened.goto(f"{lab}/lab/tree/fusion.ipynb?token={TOKEN}&reset&kernelName=no")
    picture = reopened.locator(".jp-RenderedImage img").first
    picture.wait_for(timeout=60_000)
    assert picture.evaluate("image => image.naturalWidth") > 100
    reopened.close()


@pytest.mark.parametrize("name", OPENED)
def test_a_course_notebook_runs_in_the_browser(open_notebook, name):
    notebook = open_notebook(name)
    sliders = notebook.page.locator(".jupyter-widgets .noUi-handle")
    assert sliders.count(), "every notebook has something to move"
    assert notebook.page.locator(".jp-RenderedImage img").count(), "and a picture that stays"
    for i, key in product(range(sliders.count()), ("ArrowRight", "ArrowLeft")):  # one may stand at its end
        sliders.nth(i).focus()
        before = notebook.pictures()
        notebook.page.keyboard.press(key)
        try:
            notebook.wait_for_change(before, seconds=3)
            return
        except AssertionError:
            continue
    raise AssertionError("no slider changed any picture")
