import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock
from jpeg_clips import JpegClips
from typer.testing import CliRunner

from lookalikes import synthesize
from tsfmicro_lab.cli import app
from tsfmicro_lab.data import SyntheticMicroExpressions, load, open_store, prepare, prepare_store, store


@pytest.fixture
def jpegs(tmp_path):
    return JpegClips(SyntheticMicroExpressions(2, 3, image_size=96, seed=1), tmp_path / "jpegs")


def test_a_store_holds_what_prepare_gives(jpegs, tmp_path):
    expected = prepare(jpegs, 48, progress=False)
    for workers in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            samples = open_store(prepare_store(jpegs, 48, tmp_path / str(workers), workers=workers, progress=False))
        for name in ("onset", "apex", "label"):
            assert torch.equal(getattr(samples, name), getattr(expected, name))
        assert samples.classes == expected.classes
        assert samples.table["clip"].tolist() == expected.table["clip"].tolist()


def test_writing_to_samples_leaves_the_file_alone(jpegs, tmp_path):
    place = prepare_store(jpegs, 32, tmp_path, workers=1, progress=False)
    before = open_store(place).onset.clone()
    open_store(place).onset.zero_()
    assert torch.equal(open_store(place).onset, before)


def aligned_rows(monkeypatch):
    rows, real = [], store.prepare_clip
    monkeypatch.setattr(store, "prepare_clip", lambda clip, *given: rows.append(clip.id) or real(clip, *given))
    return rows


def test_only_what_changed_is_aligned_again(jpegs, tmp_path, monkeypatch):
    place = prepare_store(jpegs, 32, tmp_path / "s", workers=1, progress=False)
    rows = aligned_rows(monkeypatch)
    assert prepare_store(jpegs, 32, tmp_path / "s", workers=1, progress=False) == place
    assert rows == []
    clip = jpegs[4]
    clip.frames.items[clip.apex].write_bytes(clip.frames.items[clip.onset].read_bytes())
    prepare_store(jpegs, 32, tmp_path / "s", workers=1, progress=False)
    assert rows == [clip.id]
    assert torch.equal(open_store(place).onset[4], open_store(place).apex[4])


def test_other_parameters_make_another_store(jpegs, tmp_path):
    places = {
        prepare_store(jpegs, size, tmp_path, target=target, workers=1, progress=False)
        for size, target in [(32, "emotion"), (40, "emotion"), (32, "emotion_megc")]
    }
    assert len(places) == 3


@pytest.mark.parametrize("name", ["onset.npy", "annotations.parquet", "manifest.json"])
@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_harm_is_noticed_and_mended(jpegs, tmp_path, name, harm):
    place = prepare_store(jpegs, 32, tmp_path, workers=1, progress=False)
    content = bytearray((place / name).read_bytes())
    if harm == "truncated":
        content = content[: len(content) // 2]
    else:
        at = content.index(b'"target": "emotion"') + 12 if name == "manifest.json" else len(content) // 2
        content[at] ^= 1
    (place / name).write_bytes(content)
    with pytest.raises(ValueError, match="run prepare_store again"):
        open_store(place)
    prepare_store(jpegs, 32, tmp_path, workers=1, progress=False)
    assert torch.equal(open_store(place).apex, prepare(jpegs, 32, progress=False).apex)


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    script = (
        "from tsfmicro_lab.data import *\n"
        f"prepare_store(SyntheticMicroExpressions(3, 40, image_size=96), 32, {str(tmp_path)!r}, workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(p.read_text().count("\n") > 5 for p in tmp_path.glob("*/done.jsonl")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    [place] = tmp_path.iterdir()
    with pytest.raises(FileNotFoundError, match="no finished store"):
        open_store(place)
    finished = len((place / "done.jsonl").read_text().splitlines())
    rows = aligned_rows(monkeypatch)
    data = SyntheticMicroExpressions(3, 40, image_size=96)
    assert prepare_store(data, 32, tmp_path, workers=1, progress=False) == place
    assert 120 - finished <= len(rows) <= 121 - finished
    assert len(json.loads((place / "manifest.json").read_text())["sources"]) == len(open_store(place)) == 120


def test_drawn_clips_and_loaded_ones_go_to_other_processes(tmp_path, landmarker):
    faces = SyntheticMicroExpressions(1, 3, image_size=224)
    synthesize("samm", tmp_path / "copy", faces, clips=3, faults=False)
    for data in (faces, load("samm", tmp_path / "copy")):
        samples = open_store(prepare_store(data, 32, tmp_path / "stores", workers=2, progress=False))
        assert torch.equal(samples.apex, prepare(data, 32, landmarker=landmarker, progress=False).apex)


def test_a_store_stays_in_its_folder(tmp_path):
    data = SyntheticMicroExpressions(1, 2, image_size=64)
    data.name = "../../outside"
    place = prepare_store(data, 16, tmp_path / "stores", workers=1, progress=False)
    assert place.parent == tmp_path / "stores"


def test_command(tmp_path, landmarker):
    synthesize("casme2", tmp_path / "copy", SyntheticMicroExpressions(1, 3, image_size=224), clips=3, faults=False)
    shutil.rmtree(next((tmp_path / "copy").rglob("EP*")))
    args = ["data", "prepare", "casme2", str(tmp_path / "copy"), "--labels", "2014", "--size", "56"]
    args += ["--out", str(tmp_path / "stores")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    assert "1 clips have no frames and are left out" in result.output
    [place] = (tmp_path / "stores").iterdir()
    samples = open_store(place)
    assert samples.onset.shape == (2, 3, 56, 56)
    assert np.ptp(samples.onset.numpy()) > 50
    for more, message in ((["--target", "joy"], "no column 'joy'"), (["--labels", "1999"], "has no labels '1999'")):
        wrong = CliRunner().invoke(app, [*args, *more])
        assert wrong.exit_code == 1
        assert message in wrong.output
    assert "give the folder of your copy of samm" in CliRunner().invoke(app, ["data", "prepare", "samm"]).output


def test_a_second_run_on_the_same_store_is_refused(jpegs, tmp_path):
    place = prepare_store(jpegs, 56, tmp_path, workers=1, progress=False)
    with FileLock(place / ".lock"), pytest.raises(OSError, match="another run"):
        prepare_store(jpegs, 56, tmp_path, workers=1, progress=False)
    assert prepare_store(jpegs, 56, tmp_path, workers=1, progress=False) == place


def test_another_landmarker_aligns_again(jpegs, tmp_path, monkeypatch):
    clip = replace(jpegs[0], landmarks=None)
    model = tmp_path / "model.task"
    sources = set()
    for content in (b"one", b"another"):
        model.write_bytes(content)
        monkeypatch.setenv("TSFMICRO_FACE_LANDMARKER", str(model))
        store._landmarker_digest.cache_clear()
        sources.add(store._source(clip, key_frames_only=True))
    store._landmarker_digest.cache_clear()
    assert len(sources) == 2
