"""The widgets in a real JupyterLab in a real browser: one page and one kernel for all explorers.

Screenshots go to build/screenshots. `TSFMICRO_PICTURES=new pytest tests/browser -k pictures_of` stores all anew.
"""

import json
import os
import re
import time
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from lab import (
    COURSE,
    EXPLORERS,
    FLAGS,
    SCREENSHOTS,
    SETUP,
    TOKEN,
    Notebook,
    Viewer,
    ask,
    chromium,
    end_kernels,
    running_lab,
    wait_for,
)
from playwright import sync_api as playwright
from skimage.data import astronaut
from takes import long_take
from warping import warp

from tsfmicro_lab.analyze import analyze
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.preprocess import align_clip

#: Every lesson runs under Papermill; in a browser all of them at night, otherwise the first and the one with a camera.
OPENED = COURSE if os.environ.get("TSFMICRO_SEEDS") else [n for n in COURSE if n[:2] in ("00", "14")]


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
    with running_lab(tmp_path_factory.mktemp("lab"), recording) as address:
        yield address


@pytest.fixture(scope="module")
def opened(browser, lab):
    """The notebook of all explorers, run once."""
    notebook = Notebook(browser, lab, "explorers").run()
    yield notebook
    notebook.page.close()


@pytest.fixture
def explorer(opened):
    """An explorer by name, in view."""
    parts = []

    def one(name):
        parts.append(opened.at(name))
        return parts[-1]

    yield one
    opened.page.mouse.move(1, 1)
    for part in parts:
        part.check()


@pytest.fixture
def viewer(explorer):
    """The frame viewer, with the annotated onset and apex side by side."""
    notebook = explorer("onset_apex")
    viewer = Viewer(notebook.page)
    viewer.notebook = notebook
    viewer.root.get_by_role("button", name="as annotated").click()
    viewer.compare("side by side")
    notebook.page.mouse.move(1, 1)
    viewer.settle()
    return viewer


@pytest.fixture(scope="module")
def library():
    """The explorers again, in this process: what the browser shows must be what they say."""
    scope = {}
    exec(SETUP, scope)
    return lambda name: eval(EXPLORERS[name], scope)


PICTURES, NEW = Path(__file__).with_name("pictures"), os.environ.get("TSFMICRO_PICTURES") == "new"
#: Stored pictures are a third as large, grey, of 16 levels; so many levels may a place of them be off.
SMALLER, LEVELS_OF, TOLERANCE = 3, 16, 1.0


def small(grey):
    """A grey picture as it is stored."""
    few = cv2.resize(grey, None, fx=1 / SMALLER, fy=1 / SMALLER, interpolation=cv2.INTER_AREA)
    return (few // (256 // LEVELS_OF)).astype(np.uint8)


#: Begins at a whole pixel, whatever is above: letters look otherwise at half of one.
SNAP = """root => {
    root.style.marginTop = "";
    const { y } = root.getBoundingClientRect();
    root.style.marginTop = `${Math.ceil(y) - y}px`;
}"""


def still(page, root):
    """A screenshot of what no longer changes."""
    root.evaluate(SNAP)
    before, began = b"", time.perf_counter()
    while (now := page.screenshot()) != before and time.perf_counter() - began < 10:
        before = now
        time.sleep(0.1)
    return now


#: Widths of a text in the fonts of the page: with other fonts, pictures differ everywhere.
FONTS = """() => {
    const page = getComputedStyle(document.body);
    const own = ["--jp-ui-font-family", "--jp-content-font-family"].map(name => page.getPropertyValue(name));
    return [...own, "Arial", "Open Sans, verdana, arial, sans-serif"].map(family => { // the last two: menus, charts
        const pen = document.createElement("canvas").getContext("2d");
        pen.font = "13px " + family;
        return pen.measureText("weight of where: 12 lip corner puller").width;
    })
}"""


def differs(name, seen, root, new=False):
    """What is told of an explorer's picture that is not the stored one."""
    box = root.bounding_box()
    left, top = round(box["x"]), round(box["y"])
    grey = cv2.imdecode(np.frombuffer(seen, np.uint8), cv2.IMREAD_GRAYSCALE)
    now = small(
        grey[max(top, 0) : min(round(box["y"] + box["height"]), grey.shape[0] - 30), left : left + round(box["width"])]
    )
    path = PICTURES / f"{name}.png"
    if new:
        cv2.imwrite(str(path), now * 17, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    apart, (x, y) = off(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) // 17, now)
    print(f"{name}: {apart:.2f} levels off at {x}, {y}")
    return [] if apart <= TOLERANCE else [f"{name}: {apart:.1f} levels from the stored picture at {x}, {y}"]


def off(stored, now):
    """Where two stored pictures differ most, levels, on average over three by three of their pixels; and the place."""
    high, wide = np.minimum(stored.shape, now.shape)
    if np.abs(np.subtract(stored.shape, now.shape)).max() > 1:  # a row more or less is where the screen ends
        return 99.0, (0, 0)
    stored, now = stored[:high, :wide], now[:high, :wide]
    apart = cv2.blur(np.abs(stored.astype(np.float32) - now), (3, 3))
    y, x = np.unravel_index(apart.argmax(), apart.shape)
    return float(apart.max()), (SMALLER * int(x), SMALLER * int(y))


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


def fonts_are_known(page):
    """Whether this page writes in the fonts of the stored pictures."""
    path, widths = PICTURES / "fonts.json", page.evaluate(FONTS)
    if NEW:
        PICTURES.mkdir(exist_ok=True)
        path.write_text(json.dumps(widths) + "\n")
    return np.allclose(json.loads(path.read_text()), widths, atol=0.5)


def choose_theme(page, theme):
    page.get_by_text("Settings", exact=True).first.click()
    page.get_by_text("Theme", exact=True).first.hover()
    page.get_by_text(f"JupyterLab {theme.title()}", exact=True).first.click()
    light = json.dumps(theme == "light")
    page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")


def seen_at_once(page, explorer):
    """Whether pictures and timeline are in view with the controls; the page may scroll by itself to another cell."""
    view = page.locator(".jp-WindowedPanel-outer").first.bounding_box()
    for _ in range(20):
        explorer.evaluate("element => element.scrollIntoView()")
        places = [part.bounding_box() for part in explorer.locator(".tsf-track, .tsf-grid").all()[:2]]
        if all(view["y"] <= p["y"] and p["y"] + p["height"] <= view["y"] + view["height"] for p in places):
            return True
        time.sleep(0.1)
    return False


#: Mean level of each canvas that is drawn of numbers.
LEVELS = """canvases => canvases.map(c => {
    const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
    return data.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0) / data.length / 0.75 })"""


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)], ids=["1280", "1920"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_of_all_explorers(opened, theme, size):
    """Nothing is cut, pictures are in view with their controls and follow the theme; and all looks as it did."""
    page = opened.page
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    choose_theme(page, theme)
    page.mouse.move(1, 1)
    known, wrong = fonts_are_known(page), []
    for name in EXPLORERS:
        part = opened.at(name)
        fits = seen_at_once(page, part.root) or name in ("studio", "results")
        (SCREENSHOTS / f"{name}-{theme}-{size[0]}.png").write_bytes(seen := still(page, part.root))
        wrong += [] if fits else [f"{name}: pictures are not seen with their controls"]
        modes = ("blink", "swipe", "amplified", "magnified", "side by side") if name == "onset_apex" else ()
        wrong += [f"{name}: {cut}" for cut in part.root.evaluate(CUT)]
        for mode in modes:
            Viewer(page).compare(mode)
            wrong += [f"{name}, {mode}: {cut}" for cut in part.root.evaluate(CUT)]
        levels = part.root.locator(".tsf-grid > figure > canvas").evaluate_all(LEVELS)
        follows = min(levels) < 110 if theme == "dark" else max(levels) > 180
        wrong += [] if follows else [f"{name}: pictures do not follow the page: {levels}"]
        wrong += differs(f"{name}-{theme}-{size[0]}", seen, part.root, NEW) if known else []
        if name == "onset_apex":
            root, figure = part.root.bounding_box(), part.root.locator(".tsf-grid figure").last.bounding_box()
            wide = figure["x"] + figure["width"] - root["x"]
            wrong += [] if wide > 0.85 * root["width"] else ["onset_apex: the width is not used"]
    opened.check()
    assert not wrong, "\n".join(wrong)
    if not known:
        pytest.skip("the fonts here are not those of the stored pictures: only what the page tells was checked")


def test_a_cut_label_and_an_empty_menu_are_seen(opened):
    """Controls of the test above: spoilt on purpose, both its checks fail, and put right they pass."""
    page = opened.page
    page.set_viewport_size({"width": 1280, "height": 720})
    choose_theme(page, "light")
    spoils = {
        "cut": "part => { part.querySelectorAll('.widget-label')[3].style.maxWidth = '60px' }",
        "mended": "part => { part.querySelectorAll('.widget-label')[3].style.maxWidth = '' }",
        "empty": "part => { part.querySelector('select').selectedIndex = -1 }",
        "full": "part => { part.querySelector('select').selectedIndex = 0 }",
    }
    for name, spoil in spoils.items():
        part = opened.at("fusion")
        part.root.evaluate(spoil)
        page.mouse.move(1, 1)
        part.root.evaluate("element => element.scrollIntoView()")
        told = part.root.evaluate(CUT)
        seen = differs("fusion-light-1280", still(page, part.root), part.root) if fonts_are_known(page) else told
        assert bool(told) == bool(seen) == (name in ("cut", "empty")), (name, told, seen)


def test_fusion_weights_move_numbers_and_maps(explorer, library):
    notebook, expected = explorer("fusion"), library("fusion")
    seconds = [notebook.press("weight of where", "ArrowLeft")[0] for _ in range(4)]
    print(f"slider steps took {[round(s, 3) for s in seconds]} s")
    expected.where_weight = 0.8
    notebook.wait_for_text(*expected.bars["late"].numbers)
    notebook.root.get_by_role("button", name="as trained").click()
    expected.reset()
    notebook.wait_for_text(*expected.bars["late"].numbers)


def value(handle):
    return int(handle.get_attribute("aria-valuenow").split(".")[0])


def test_a_click_on_a_retention_map_moves_the_query(explorer, library):
    notebook, expected = explorer("retention"), library("retention")
    before = notebook.pictures()
    canvas = notebook.root.locator(".tsf-grid > figure > canvas").nth(2)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    canvas.click(position={"x": 50, "y": 200})
    notebook.wait_for_change(before)
    for name, place in (("column", 50 / box["width"]), ("row", 200 / box["height"])):
        handle = notebook.slider(f"query {name}")
        wait_for(lambda handle=handle, place=place: abs(value(handle) - 28 * place) < 1.5)
        setattr(expected, name, value(handle))
    notebook.wait_for_text(expected.story.value)
    notebook.press("decay")


def test_handles_by_mouse_and_keyboard_and_the_kernel_follows_when_they_rest(viewer, library):
    notebook, expected = viewer.notebook, library("onset_apex")
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
    expected.onset = viewer.at(viewer.onset)
    told = re.sub("<.*?>", "", expected.story.value)
    viewer.wait_for(lambda: told in notebook.text())
    assert viewer.root.get_by_role("spinbutton", name="onset frame").input_value() == str(expected.onset)
    notebook.page.get_by_role("button", name="as annotated").click()
    expected.reset()
    viewer.wait_for(lambda: viewer.at(viewer.onset) == expected.onset and viewer.at(viewer.apex) == expected.apex)


def test_pictures_follow_a_handle_without_the_kernel(viewer):
    notebook = viewer.notebook
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
    viewer.settle()
    box, before, told = viewer.apex.bounding_box(), viewer.panes(), notebook.messages()
    notebook.page.mouse.move(box["x"] + 1, box["y"] + 40)
    notebook.page.mouse.down()
    for x in range(0, 100, 5):
        notebook.page.mouse.move(box["x"] - x, box["y"] + 40)
    viewer.wait_for(lambda: all(old != new for old, new in zip(before[1:3], viewer.panes()[1:3], strict=True)))
    assert notebook.messages() == told, "the kernel is not asked while a handle moves"
    notebook.page.mouse.up()
    viewer.wait_for(lambda: notebook.messages() > told)


def test_ways_to_compare(viewer):
    page = viewer.page
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
        ends[key] = viewer.settle()[0]
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
        assert viewer.settle()[0] in {pixels for _, pixels in seen}, "once the change is the apex frame"
        slider.press("End")
        assert viewer.settle()[0] not in {pixels for _, pixels in seen}


#: What has the focus: its name, whether an outline shows it, and whether it is of this explorer.
FOCUS = """root => {
    const part = document.activeElement;
    const name = part.getAttribute("aria-label") || part.labels?.[0]?.textContent || part.title || part.textContent;
    return [name.trim(), getComputedStyle(part).outlineStyle !== "none", root.contains(part)];
}"""


CELL = "xpath=ancestor::*[contains(@class, 'jp-CodeCell')]"


def tabbed(notebook, most=200):
    """Names of all that the tab key reaches in an explorer, in order; each shows that it has the focus."""
    page, names = notebook.page, []
    notebook.root.locator(CELL).focus()
    for _ in range(most):
        page.keyboard.press("Tab")
        name, seen, inside = notebook.root.evaluate(FOCUS)
        if names and not inside:
            break
        assert not inside or seen, f"{name} does not show that it has the focus"
        names += [name] if inside else []
    assert not notebook.root.evaluate(FOCUS)[2], f"the focus is trapped: {names}"
    return names


SCROLLED = """(all, shown) => all.filter(part => {
  const wide = part.scrollWidth > part.clientWidth, high = part.scrollHeight > part.clientHeight
  const style = getComputedStyle(part), scrolls = way => ["auto", "scroll"].includes(way)
  return ((wide && scrolls(style.overflowX)) || (high && scrolls(style.overflowY))) && !part.querySelector(shown)
}).length"""


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_keyboard_reaches_every_control_and_keeps_the_notebook(explorer, name):
    notebook = explorer(name)
    page, cells = notebook.page, notebook.page.locator(".jp-Cell")
    names, count = tabbed(notebook), cells.count()
    assert all(names), names
    shown = (
        "button, select, input:not([type=radio]), .noUi-handle, canvas[tabindex], [role=slider], [contenteditable=true]"
    )
    wanted = notebook.root.locator(shown).evaluate_all(
        "all => all.filter(part => part.checkVisibility({ visibilityProperty: true }) && !part.disabled).length"
    )
    scrolled = notebook.root.locator("*").evaluate_all(SCROLLED, shown)  # the browser gives them the focus, to scroll
    assert len(names) == wanted + notebook.root.get_by_role("radiogroup").count() + scrolled
    handles = notebook.root.locator(".noUi-handle")
    tried = {notebook.root.locator("select").last: ("ArrowDown", "ArrowUp")}
    tried |= {handles.first: ("ArrowUp", "ArrowDown")} if handles.count() else {}
    for part, arrows in tried.items():
        part.focus()
        for key in ("x", *arrows):  # with x the notebook would cut the cell, with arrows go to another
            page.keyboard.press(key)
        assert part.evaluate("part => part === document.activeElement"), "the focus stays"
    assert cells.count() == count, "no cell was cut"
    notebook.settle()


def test_onset_and_apex_are_found_by_keyboard_alone(viewer):
    """From the cell to a clip, to blinking, to a frame that is typed, to a handle, and out: no mouse."""
    notebook, page = viewer.notebook, viewer.page

    def go_to(name, key="Tab"):
        for _ in range(40):
            if notebook.root.evaluate(FOCUS)[0].startswith(name):
                return
            page.keyboard.press(key)
        raise AssertionError(f"the tab key does not reach {name}")

    page.keyboard.press("Escape")
    notebook.root.locator(CELL).focus()
    told = notebook.text()
    go_to("clip")
    page.keyboard.press("ArrowDown")
    wait_for(lambda: "sub01/EP02" in notebook.text() != told)
    viewer.settle()
    go_to("side by side")
    page.keyboard.press("ArrowRight")
    wait_for(lambda: len(viewer.titles()) == 3)
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: len(viewer.titles()) == 4)
    go_to("apex frame")
    page.keyboard.press("Control+a")
    page.keyboard.type("20")
    page.keyboard.press("Enter")
    wait_for(lambda: viewer.at(viewer.apex) == 20 and "to apex 20:" in notebook.text())
    page.keyboard.press("Tab")
    go_to("apex frame")
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: viewer.at(viewer.apex) == 19 and "to apex 19:" in notebook.text())
    page.keyboard.press("Space")
    wait_for(lambda: viewer.at(viewer.apex) not in (19, viewer.at(viewer.onset)))
    page.keyboard.press("Space")
    viewer.settle()
    go_to("as annotated", "Shift+Tab")
    page.keyboard.press("Enter")
    go_to("clip", "Shift+Tab")
    page.keyboard.press("ArrowUp")
    wait_for(lambda: "sub01/EP01" in notebook.text())
    viewer.settle()


def test_magnified_motion_is_the_true_motion_made_larger(browser):
    data = SyntheticMicroExpressions(1, 6, image_size=112, seed=8, distractors=Distractors.none())
    clip = align_clip(data[int(data.annotations.amplitude.idxmax())], 112)
    onset, apex = map(clip.frame, clip.key_frames)
    page = browser.new_page()
    script = """async ([source, onset, apex, planes, factor]) => {
        const { PICTURES } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
        const [a, b] = [onset, apex].map(pixels => new ImageData(Uint8ClampedArray.from(pixels), 112, 112));
        return [...PICTURES.magnified({ a, b, view: { factor }, flow: { planes }, fresh: true }).data];
    }"""
    source = (ROOT / "tsfmicro_lab" / "widgets" / "pictures.js").read_text("utf-8")
    pixels = [np.dstack([f, np.full_like(f[..., :1], 255)]).ravel().tolist() for f in (onset, apex)]
    planes = clip.truth.field.reshape(2, -1).tolist()

    def magnified(factor):
        return np.reshape(page.evaluate(script, [source, *pixels, planes, factor]), (112, 112, 4))[..., :3]

    moved, larger = clip.truth.moved, warp(onset, 3 * clip.truth.expression)
    distance = {f: np.abs(magnified(f) - larger)[moved].mean() for f in (1, 3, 5)}
    assert distance[3] < 0.5 * min(distance[1], distance[5])
    assert np.array_equal(magnified(1), apex)
    assert np.abs(magnified(0) - onset)[moved].mean() < 0.3 * np.abs(apex.astype(float) - onset)[moved].mean()
    page.close()


def test_one_cross_and_one_zoom_for_all_pictures(viewer):
    page = viewer.page
    plain = viewer.panes()
    box = viewer.root.locator(".tsf-grid canvas").first.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(middle[0] - 9, middle[1])
    page.mouse.move(*middle, steps=3)
    assert all(old != new for old, new in zip(plain, viewer.settle(), strict=True))
    x, y = map(int, re.fullmatch(r"x (\d+), y (\d+)", viewer.root.locator(".tsf-where").inner_text()).groups())
    assert abs(x - 80) <= 1
    assert abs(y - 80) <= 1
    levels = [re.search(r"· ([+−]?[\d.]+)", title)[1].replace("−", "-") for title in viewer.titles()]
    assert float(levels[2]) == pytest.approx(float(levels[1]) - float(levels[0]), abs=1)
    page.mouse.wheel(0, -200)
    viewer.settle()
    page.mouse.move(box["x"] - 20, box["y"] - 5)
    zoomed = viewer.settle()
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
    viewer.wait_for(lambda: viewer.panes() != plain)
    page.keyboard.press("Escape")
    viewer.onset.focus()
    viewer.wait_for(lambda: viewer.panes() == plain)


def test_it_plays_and_pauses(viewer):
    notebook = viewer.notebook
    start = viewer.at(viewer.onset)
    viewer.root.get_by_role("button", name="play").click()
    seen = set()
    viewer.wait_for(lambda: seen.add(viewer.at(viewer.apex)) or len(seen) > 5)
    assert min(seen) >= start
    viewer.root.get_by_role("button", name="play").click()
    viewer.settle()
    rest = viewer.at(viewer.apex)
    viewer.wait_for(lambda: f"to apex {rest}:" in notebook.text())
    assert viewer.at(viewer.apex) == rest


def test_a_region_is_held_still_by_its_button(explorer, library):
    notebook, expected = explorer("where_how"), library("where_how")
    before = notebook.pictures()
    notebook.root.get_by_role("button", name=re.compile("^12 lip corner")).click()
    notebook.wait_for_change(before)
    expected.still["12"].value = True
    notebook.wait_for_text(*expected.bars.numbers)


def test_the_studio_plays(explorer):
    notebook = explorer("studio")
    notebook.press("4 brow lowerer")
    before = notebook.settle()
    play = notebook.root.locator(".jupyter-widgets.widget-play button, .widget-play button")
    play.nth(0).click()
    notebook.wait_for_change(before)
    play.nth(1).click()


def test_a_picture_of_ones_own_is_uploaded_and_moves(explorer, landmarker):
    notebook = explorer("studio")
    page, before = notebook.page, notebook.settle()
    png = cv2.imencode(".png", cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))[1].tobytes()
    with page.expect_file_chooser() as chooser:
        page.get_by_title("Upload Files").click()
    chooser.value.set_files([{"name": "me.png", "mimeType": "image/png", "buffer": png}])
    page.locator(".jp-DirListing-item", has_text="me.png").wait_for()
    page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="explorers.ipynb").click()  # it may open the picture
    notebook.root.get_by_label("face", exact=True).select_option(label="a photograph")
    _, photograph = notebook.wait_for_change(before, 60)
    name = notebook.root.locator("input[list]")
    for given, told in (("nobody.png", "there is no picture nobody.png: upload it"), ("me.png", "")):
        name.fill(given)
        name.press("Enter")
        wait_for(lambda told=told: told in notebook.text() and ("⚠" in notebook.text()) == bool(told), 60)
    notebook.root.get_by_label("face", exact=True).select_option(label="a head")
    notebook.wait_for_change(photograph, 60)


def test_the_camera_is_recorded_and_the_recording_read(opened, recording, landmarker):
    opened.page.get_by_role("button", name="record 3 s").click()
    opened.page.get_by_text(f"kept in {recording}").wait_for(timeout=30_000)
    found = analyze(recording, progress=False)
    assert found.video.size == (480, 480)
    assert 2 < found.trace.times[-1] < 4.5
    assert (found.trace.searches.faces == 1).all()
    assert "frames per second" in found.notes[0]


def test_a_saved_notebook_works_without_a_kernel(browser, lab, opened):
    """The last of this notebook: its kernel ends."""
    opened.page.keyboard.press("Escape")
    opened.page.keyboard.press("Control+s")
    opened.page.get_by_text("Saving completed").wait_for(timeout=20_000)
    end_kernels(lab)
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(f"{lab}/lab/tree/explorers.ipynb?token={TOKEN}&reset&kernelName=no")
    viewer = Viewer(page)
    viewer.wait_for(lambda: viewer.titles()[0].startswith("onset"))
    for session in ask(lab, "sessions"):
        ask(lab, f"sessions/{session['id']}", "DELETE")
    assert ask(lab, "kernels") == []
    before = viewer.settle()
    viewer.apex.focus()
    page.keyboard.press("ArrowLeft")
    viewer.wait_for(lambda: viewer.panes()[1:3] != before[1:3])
    viewer.compare("blink")
    page.screenshot(path=SCREENSHOTS / "viewer-no-kernel.png")
    picture = page.locator(".jp-RenderedImage img").first
    picture.wait_for(timeout=60_000)
    assert picture.evaluate("image => image.naturalWidth") > 100, "and a still picture stays"
    assert ask(lab, "kernels") == []
    page.close()


@pytest.mark.parametrize("name", OPENED)
def test_a_course_notebook_runs_in_the_browser(browser, lab, name):
    notebook = Notebook(browser, lab, name).run()
    sliders = notebook.page.locator(".jupyter-widgets .noUi-handle, .tsf-handle")
    assert sliders.count(), "every notebook has something to move"
    assert notebook.page.locator(".jp-RenderedImage img").count(), "and a picture that stays"
    moved = any(moves_a_picture(notebook, sliders.nth(i), key) for i, key in product(range(sliders.count()), KEYS))
    notebook.check()
    notebook.page.close()
    end_kernels(lab)
    assert moved, "no slider changed any picture"


KEYS = ("ArrowRight", "ArrowLeft")  # a slider may stand at its end


def moves_a_picture(notebook, slider, key):
    slider.focus()
    before = notebook.pictures()
    notebook.page.keyboard.press(key)
    try:
        return notebook.wait_for_change(before, seconds=3)
    except AssertionError:
        return False
