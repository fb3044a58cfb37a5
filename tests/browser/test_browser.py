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
import numpy as np
import pytest
from conftest import ROOT
from gate import PARAMETERS
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright import sync_api as playwright
from takes import long_take
from warping import warp

from tsfmicro_lab.analyze import analyze
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.preprocess import align_clip

TOKEN = "course"
COURSE = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
#: Every lesson runs under Papermill; in a browser all of them at night, otherwise one of each kind of explorer.
OPENED = COURSE if os.environ.get("TSFMICRO_SEEDS") else [n for n in COURSE if n[:2] in ("00", "06", "09", "14")]
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
from studies.retention_explorer import RetentionExplorer
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
        path = settings / f"{extension}.jupyterlab-settings"
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
        self.name, self.errors, self.sent = name, [], []
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.on("websocket", lambda socket: socket.on("framesent", lambda m: self.sent.append(m)))
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
        self.page.locator(".jupyter-widgets img, .tsf-viewer").first.wait_for()
        time.sleep(0.5)
        return self

    def pictures(self):
        """Each picture's own bytes, by a short digest: its address is new whenever it is drawn again."""
        script = """async images => Promise.all(images.map(async image => {
            const bytes = await (await fetch(image.src)).arrayBuffer();
            const digest = await crypto.subtle.digest("SHA-1", bytes);
            return Array.from(new Uint8Array(digest)).map(b => b.toString(16)).join("");
        }))"""
        drawn = self.page.locator(".tsf-grid > figure > canvas").evaluate_all(PANES)
        return self.page.locator(".jupyter-widgets img").evaluate_all(script) + drawn

    def slider(self, label):
        row = self.page.locator(".widget-inline-hbox", has=self.page.locator(f".widget-label:text-is('{label}')"))
        return row.locator(".noUi-handle").first

    def messages(self):
        """How many messages of widgets were sent to the kernel."""
        self.page.evaluate("0")  # events come with an answer of the page
        return sum(b"comm_msg" in (m if isinstance(m, bytes) else m.encode()) for m in self.sent)

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
    expected.where_weight = 0.8
    for number in expected.bars["late"].numbers:
        assert number in notebook.text()
    notebook.page.get_by_role("button", name="as trained").click()
    expected.reset()
    notebook.page.get_by_text(expected.bars["late"].numbers[0]).wait_for()


def test_a_click_on_a_retention_map_moves_the_query(open_notebook, library):
    notebook, expected = open_notebook("retention"), library("retention")
    before = notebook.pictures()
    canvas = notebook.page.locator(".tsf-grid > figure > canvas").nth(2)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    canvas.click(position={"x": 50, "y": 200})
    notebook.wait_for_change(before)
    time.sleep(2)
    for name, place in (("column", 50 / box["width"]), ("row", 200 / box["height"])):
        chosen = int(notebook.slider(f"query {name}").get_attribute("aria-valuenow").split(".")[0])
        assert abs(chosen - 28 * place) <= 1
        setattr(expected, name, chosen)
    notebook.page.get_by_text(expected.story.value).wait_for(timeout=20_000)
    notebook.press("decay")


class Viewer:
    """The frame viewer of a notebook, as a reader uses it."""

    def __init__(self, page):
        self.page, self.root = page, page.locator(".tsf-viewer").first
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
        began = time.perf_counter()
        while not true():
            assert time.perf_counter() - began < seconds, self.titles()
            time.sleep(0.02)

    def compare(self, mode):
        self.root.get_by_role("radio", name=mode).check()
        self.wait_for(lambda: len(self.titles()) == (4 if mode == "side by side" else 3))
        time.sleep(0.3)


def test_handles_by_mouse_and_keyboard_and_the_kernel_follows_when_they_rest(open_notebook, library):
    notebook, expected = open_notebook("onset_apex"), library("onset_apex")
    viewer = Viewer(notebook.page)
    assert (viewer.at(viewer.onset), viewer.at(viewer.apex)) == (expected.onset, expected.apex)
    assert re.sub("<.*?>", "", expected.story.value) in notebook.text()
    before = viewer.panes()
    viewer.apex.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown"):
        notebook.page.keyboard.press(key)
    expected.apex -= 3
    viewer.wait_for(lambda: viewer.at(viewer.apex) == expected.apex)
    told = re.sub("<.*?>", "", expected.story.value)
    viewer.wait_for(lambda: told in notebook.text())
    assert expected.bars.numbers[2] in notebook.text()
    after = viewer.panes()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False, False]
    notebook.page.keyboard.press("Shift+ArrowRight")
    notebook.page.keyboard.press("ArrowLeft")
    viewer.wait_for(lambda: viewer.at(viewer.apex) == expected.apex + 9)
    notebook.page.keyboard.press("Home")
    viewer.wait_for(lambda: viewer.at(viewer.apex) == viewer.at(viewer.onset))  # it stops at the other handle
    number = viewer.root.get_by_role("spinbutton", name="apex frame")
    number.fill("20")
    number.press("Enter")
    expected.apex = 20
    told = re.sub("<.*?>", "", expected.story.value)
    viewer.wait_for(lambda: told in notebook.text())
    box = viewer.onset.bounding_box()
    notebook.page.mouse.move(box["x"] + 1, box["y"] + 40)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + 60, box["y"] + 40, steps=5)
    viewer.wait_for(lambda: expected.onset < viewer.at(viewer.onset) <= 20)
    assert told in notebook.text(), "the kernel is asked when the mouse lets go"
    notebook.page.mouse.up()
    time.sleep(0.3)
    expected.onset = viewer.at(viewer.onset)
    told = re.sub("<.*?>", "", expected.story.value)
    viewer.wait_for(lambda: told in notebook.text())
    assert viewer.root.get_by_role("spinbutton", name="onset frame").input_value() == str(expected.onset)
    notebook.page.get_by_role("button", name="as annotated").click()
    expected.reset()
    viewer.wait_for(lambda: viewer.at(viewer.onset) == expected.onset and viewer.at(viewer.apex) == expected.apex)


def test_pictures_follow_a_handle_without_the_kernel_and_sooner_than_with_it(open_notebook):
    notebook = open_notebook("onset_apex")
    viewer = Viewer(notebook.page)
    moved = """async handle => {
        const canvas = handle.closest(".tsf-viewer").querySelectorAll(".tsf-grid > figure > canvas");
        const pixels = i => canvas[i].toDataURL();
        const flow = () => canvas[3].closest("figure").classList.contains("tsf-past");
        const [picture, began] = [pixels(1), performance.now()];
        handle.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
        const frame = () => new Promise(requestAnimationFrame);
        while (pixels(1) === picture) await frame();
        const browser = performance.now() - began;
        while (flow() && performance.now() - began < 20000) await frame();
        return [browser, performance.now() - began];
    }"""
    steps = [viewer.apex.evaluate(moved) for _ in range(8)]
    print("browser and kernel, ms:", [[round(ms) for ms in step] for step in steps])
    browser, kernel = (sorted(step[i] for step in steps)[4] for i in (0, 1))
    assert browser < kernel
    work = """async handle => {
        const [frames, later] = [[], window.requestAnimationFrame];
        window.requestAnimationFrame = call => later(now => {
            const began = performance.now();
            call(now);
            frames.push(performance.now() - began);
        });
        for (let i = 0; i < 30; i++) {
            const key = i % 2 ? "ArrowRight" : "ArrowLeft";
            handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            await new Promise(done => later(() => later(done)));
        }
        window.requestAnimationFrame = later;
        return frames.sort((a, b) => a - b);
    }"""
    frames = viewer.apex.evaluate(work)
    print(f"work for a step in the browser: median {frames[15]:.1f} ms, longest {frames[-1]:.1f} ms")
    time.sleep(1)
    box, before, told = viewer.apex.bounding_box(), viewer.panes(), notebook.messages()
    notebook.page.mouse.move(box["x"] + 1, box["y"] + 40)
    notebook.page.mouse.down()
    for x in range(0, 100, 5):
        notebook.page.mouse.move(box["x"] - x, box["y"] + 40)
    viewer.wait_for(lambda: all(old != new for old, new in zip(before[1:3], viewer.panes()[1:3], strict=True)))
    assert notebook.messages() == told, "the kernel is not asked while a handle moves"
    notebook.page.mouse.up()
    viewer.wait_for(lambda: notebook.messages() > told)


def test_ways_to_compare(open_notebook):
    notebook = open_notebook("onset_apex")
    viewer, page = Viewer(notebook.page), notebook.page
    onset, apex, difference, flow = viewer.panes()
    assert len({onset, apex, difference, flow}) == 4
    viewer.compare("blink")
    seen = set()
    for _ in range(40):
        seen.add((viewer.titles()[0].split(":")[0], viewer.panes()[0]))
        time.sleep(0.05)
    assert {title for title, _ in seen} == {"onset", "apex"}
    assert len({pixels for _, pixels in seen}) == 2
    assert len({tuple(viewer.panes()[1:]) for _ in range(5)}) == 1, "difference and flow do not blink"
    viewer.compare("swipe")
    slider = viewer.root.get_by_role("slider", name="divider")
    ends = {}
    for key in ("Home", "End"):
        slider.press(key)
        time.sleep(0.3)
        ends[key] = viewer.panes()[0]
    assert {ends["Home"], ends["End"]} <= {pixels for _, pixels in seen}, "all of the apex, all of the onset"
    picture = viewer.root.locator(".tsf-grid canvas").first.bounding_box()
    page.mouse.move(picture["x"] + 20, picture["y"] + 20)
    page.mouse.down()
    page.mouse.move(picture["x"] + picture["width"] / 2, picture["y"] + 20, steps=4)
    page.mouse.up()
    assert abs(float(slider.input_value()) - 0.5) < 0.02
    assert viewer.panes()[0] not in ends.values()
    for mode, name in (("amplified", "change ×"), ("magnified", "motion ×")):
        viewer.compare(mode)
        slider = viewer.root.get_by_role("slider", name=name)
        slider.press("Home")
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        assert slider.input_value() == "1"
        time.sleep(0.5)
        assert viewer.panes()[0] in {pixels for _, pixels in seen}, "once the change is the apex frame"
        slider.press("End")
        time.sleep(0.5)
        assert viewer.panes()[0] not in {pixels for _, pixels in seen}


def test_magnified_motion_is_the_true_motion_made_larger(browser):
    data = SyntheticMicroExpressions(1, 6, image_size=224, seed=8, distractors=Distractors.none())
    clip = align_clip(data[int(data.annotations.amplitude.idxmax())], 224)
    onset, apex = map(clip.frame, clip.key_frames)
    page = browser.new_page()
    script = """async ([source, onset, apex, planes, factor]) => {
        const { PICTURES } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
        const [a, b] = [onset, apex].map(pixels => new ImageData(Uint8ClampedArray.from(pixels), 224, 224));
        return [...PICTURES.magnified({ a, b, view: { factor }, flow: { planes }, fresh: true }).data];
    }"""
    source = (ROOT / "tsfmicro_lab" / "widgets" / "pictures.js").read_text("utf-8")
    pixels = [np.dstack([f, np.full_like(f[..., :1], 255)]).ravel().tolist() for f in (onset, apex)]
    planes = clip.truth.field.reshape(2, -1).tolist()

    def magnified(factor):
        return np.reshape(page.evaluate(script, [source, *pixels, planes, factor]), (224, 224, 4))[..., :3]

    moved, larger = clip.truth.moved, warp(onset, 3 * clip.truth.expression)
    distance = {f: np.abs(magnified(f) - larger)[moved].mean() for f in (1, 3, 5)}
    assert distance[3] < 0.5 * min(distance[1], distance[5])
    assert np.array_equal(magnified(1), apex)
    assert np.abs(magnified(0) - onset)[moved].mean() < 0.3 * np.abs(apex.astype(float) - onset)[moved].mean()
    page.close()


def test_one_cross_and_one_zoom_for_all_pictures(open_notebook):
    notebook = open_notebook("onset_apex")
    viewer, page = Viewer(notebook.page), notebook.page
    plain = viewer.panes()
    box = viewer.root.locator(".tsf-grid canvas").first.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(middle[0] - 9, middle[1])
    page.mouse.move(*middle, steps=3)
    time.sleep(0.3)
    assert all(old != new for old, new in zip(plain, viewer.panes(), strict=True))
    x, y = map(int, re.fullmatch(r"x (\d+), y (\d+)", viewer.root.locator(".tsf-where").inner_text()).groups())
    assert abs(x - 80) <= 1
    assert abs(y - 80) <= 1
    levels = [re.search(r"· ([+−]?[\d.]+)", title)[1].replace("−", "-") for title in viewer.titles()]
    assert float(levels[2]) == pytest.approx(float(levels[1]) - float(levels[0]), abs=1)
    page.mouse.wheel(0, -200)
    time.sleep(0.3)
    page.mouse.move(box["x"] - 20, box["y"] - 5)
    time.sleep(0.3)
    zoomed = viewer.panes()
    assert all(old != new for old, new in zip(plain, zoomed, strict=True))
    page.mouse.move(middle[0] - 9, middle[1])
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 30, middle[1] + 10, steps=3)
    page.mouse.up()
    page.mouse.dblclick(*middle)
    page.mouse.move(box["x"] - 20, box["y"] - 5)
    viewer.wait_for(lambda: viewer.panes() == plain)
    canvas = viewer.root.get_by_role("img", name=re.compile("^difference: on average"))
    canvas.focus()
    page.keyboard.press("ArrowRight")
    viewer.wait_for(lambda: "x 81, y 80" in viewer.root.locator(".tsf-where").inner_text())
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowDown")
    time.sleep(0.3)
    assert viewer.panes() != plain
    page.keyboard.press("Escape")
    viewer.onset.focus()
    viewer.wait_for(lambda: viewer.panes() == plain)


def test_it_plays_and_pauses(open_notebook):
    notebook = open_notebook("onset_apex")
    viewer = Viewer(notebook.page)
    start = viewer.at(viewer.onset)
    viewer.root.get_by_role("button", name="play").click()
    seen = set()
    viewer.wait_for(lambda: seen.add(viewer.at(viewer.apex)) or len(seen) > 5)
    assert min(seen) >= start
    viewer.root.get_by_role("button", name="play").click()
    time.sleep(0.3)
    rest = viewer.at(viewer.apex)
    viewer.wait_for(lambda: f"to apex {rest}:" in notebook.text())
    assert viewer.at(viewer.apex) == rest


#: Texts of an explorer that do not fit into their places, and parts that reach out of it.
CUT = """root => [...root.querySelectorAll("label, button, figcaption, span, select, .tsf-row, .tsf-grid, .tsf-track")]
    .filter(part => {
        const [style, box] = [getComputedStyle(part), part.getBoundingClientRect()];
        if (style.visibility === "hidden" || !box.width || box.width === 1) return false; // for a screen reader alone
        if (box.right > root.getBoundingClientRect().right + 1) return true;
        if (part.tagName !== "SELECT") return part.scrollWidth > part.clientWidth + 1 && style.display !== "inline";
        const pen = document.createElement("canvas").getContext("2d");
        pen.font = style.font;
        const chosen = part.selectedOptions[0]?.text; // a menu that shows nothing is as bad as a cut one
        return !chosen || pen.measureText(chosen).width > part.clientWidth - 16;
    }).map(part => `${part.className}: ${part.textContent.slice(0, 40)}`)"""


def choose_theme(page, theme):
    page.get_by_text("Settings", exact=True).first.click()
    page.get_by_text("Theme", exact=True).first.hover()
    page.get_by_text(f"JupyterLab {theme.title()}", exact=True).first.click()
    time.sleep(1)


def seen_at_once(page, explorer):
    """Whether pictures and timeline are in view with the controls; the page may scroll by itself to another cell."""
    view = page.locator(".jp-WindowedPanel-outer").first.bounding_box()
    for _ in range(20):
        explorer.evaluate("element => element.scrollIntoView()")
        places = [part.bounding_box() for part in explorer.locator(".tsf-track, .tsf-grid").all()[:2]]
        if all(view["y"] <= p["y"] and p["y"] + p["height"] <= view["y"] + view["height"] for p in places):
            return True
        time.sleep(0.2)
    return False


@pytest.mark.parametrize("name", EXPLORERS)
def test_nothing_is_cut_and_pictures_follow_the_theme(open_notebook, name):
    notebook = open_notebook(name)
    page, explorer = notebook.page, notebook.page.locator(".widget-vbox", has=notebook.page.locator(".tsf-grid")).first
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        choose_theme(page, theme)
        for width, height in ((1280, 720), (1920, 1080)):
            page.set_viewport_size({"width": width, "height": height})
            time.sleep(1)
            fits = seen_at_once(page, explorer)
            page.screenshot(path=SCREENSHOTS / f"{name}-{theme}-{width}.png")
            assert fits or name == "studio", f"{name}: pictures are not seen with their controls at {width}"
            modes = ("side by side", "blink", "swipe", "amplified", "magnified") if name == "onset_apex" else ("",)
            for mode in modes:
                if mode:
                    Viewer(page).compare(mode)
                assert explorer.evaluate(CUT) == [], f"{name} {theme} {width} {mode}"
            if name == "onset_apex":
                Viewer(page).compare("side by side")
            root, figure = explorer.bounding_box(), explorer.locator(".tsf-grid figure").last.bounding_box()
            if name == "onset_apex":
                assert figure["x"] + figure["width"] - root["x"] > 0.85 * root["width"], "the width is used"
        pixels = """canvases => canvases.map(c => {
            const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
            return data.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0) / data.length / 0.75 })"""
        levels = explorer.locator(".tsf-grid > figure > canvas").evaluate_all(pixels)
        bright = min(levels) < 110 if theme == "dark" else max(levels) > 180
        assert bright, f"pictures that are drawn follow the page: {levels}"


def test_the_viewer_works_in_a_saved_notebook_without_a_kernel(browser, lab, open_notebook):
    notebook = open_notebook("onset_apex")
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("Control+s")
    time.sleep(5)
    for kernel in ask(lab, "kernels"):
        ask(lab, f"kernels/{kernel['id']}", "DELETE")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(f"{lab}/lab/tree/onset_apex.ipynb?token={TOKEN}&reset&kernelName=no")
    viewer = Viewer(page)
    viewer.wait_for(lambda: viewer.titles()[0].startswith("onset"))
    for session in ask(lab, "sessions"):
        ask(lab, f"sessions/{session['id']}", "DELETE")
    assert ask(lab, "kernels") == []
    before = viewer.panes()
    viewer.apex.focus()
    page.keyboard.press("ArrowLeft")
    viewer.wait_for(lambda: viewer.panes()[1:3] != before[1:3])
    viewer.compare("blink")
    page.screenshot(path=SCREENSHOTS / "viewer-no-kernel.png")
    assert ask(lab, "kernels") == []
    page.close()
    notebook.errors.clear()


def test_a_region_is_held_still_by_its_button(open_notebook, library):
    notebook, expected = open_notebook("where_how"), library("where_how")
    before = notebook.pictures()
    notebook.page.get_by_role("button", name=re.compile("^12 lip corner")).click()
    notebook.wait_for_change(before)
    time.sleep(1)
    expected.still["12"].value = True
    assert expected.bars.numbers[0] in notebook.text()


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
    sliders = notebook.page.locator(".jupyter-widgets .noUi-handle, .tsf-handle")
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
