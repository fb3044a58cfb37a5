import json
import os
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from jpeg_clips import JpegClips
from torch.utils.data import DataLoader
from typer.testing import CliRunner

from lookalikes import synthesize
from tsfmicro_lab.cli import app
from tsfmicro_lab.data import SyntheticMicroExpressions, load, open_store, prepare
from tsfmicro_lab.data import samples as store
from tsfmicro_lab.files import alone, file_digest


@pytest.fixture
def jpegs(tmp_path):
    return JpegClips(SyntheticMicroExpressions(2, 3, image_size=96, seed=1), tmp_path / "jpegs")


def prepare_store(data, size, folder, **options):
    return prepare(data, size, folder=folder, **options).folder


def test_a_store_holds_what_prepare_gives(jpegs, tmp_path):
    expected = prepare(jpegs, 48, progress=False)
    for workers in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            samples = prepare(jpegs, 48, folder=tmp_path / str(workers), workers=workers, progress=False)
        for name in ("onset", "apex", "label"):
            assert torch.equal(getattr(samples, name), getattr(expected, name))
        assert samples.classes == expected.classes
        pd.testing.assert_frame_equal(samples.table, expected.table)
        assert samples.source == expected.source


def test_writing_to_samples_leaves_the_file_alone(jpegs, tmp_path):
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    before = open_store(place).onset.clone()
    open_store(place).onset.zero_()
    assert torch.equal(open_store(place).onset, before)


def aligned_rows(monkeypatch):
    rows, real = [], store.prepare_clip
    monkeypatch.setattr(store, "prepare_clip", lambda clip, *given: rows.append(clip.id) or real(clip, *given))
    return rows


def test_only_what_changed_is_aligned_again(jpegs, tmp_path, monkeypatch):
    place = prepare_store(jpegs, 32, tmp_path / "s", progress=False)
    rows = aligned_rows(monkeypatch)
    assert prepare_store(jpegs, 32, tmp_path / "s", progress=False) == place
    assert rows == []
    clip = jpegs[4]
    clip.frames.items[clip.apex].write_bytes(clip.frames.items[clip.onset].read_bytes())
    prepare_store(jpegs, 32, tmp_path / "s", progress=False)
    assert rows == [clip.id]
    assert torch.equal(open_store(place).onset[4], open_store(place).apex[4])


def test_other_parameters_make_another_store(jpegs, tmp_path):
    places = {
        prepare_store(jpegs, size, tmp_path, target=target, progress=False)
        for size, target in [(32, "emotion"), (40, "emotion"), (32, "emotion_megc")]
    }
    assert len(places) == 3


@pytest.mark.parametrize("name", ["onset.npy", "manifest.json"])
@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_harm_is_noticed_and_mended(jpegs, tmp_path, name, harm):
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    content = bytearray((place / name).read_bytes())
    if harm == "truncated":
        content = content[: len(content) // 2]
    else:
        at = content.index(b'"target": "emotion"') + 12 if name == "manifest.json" else len(content) // 2
        content[at] ^= 1
    (place / name).write_bytes(content)
    with pytest.raises(ValueError, match="prepare the data set again"):
        open_store(place)
    prepare_store(jpegs, 32, tmp_path, progress=False)
    assert torch.equal(open_store(place).apex, prepare(jpegs, 32, progress=False).apex)


def test_a_file_is_hashed_where_its_time_is_another_and_then_trusted(jpegs, tmp_path, monkeypatch):
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    hashed = []
    monkeypatch.setattr(store, "file_digest", lambda path: hashed.append(path.name) or file_digest(path))
    open_store(place)
    assert hashed == []
    os.utime(place / "apex.npy", ns=(1, 1))  # as copied to another machine
    open_store(place)
    open_store(place)
    assert hashed == ["apex.npy"]


def test_a_set_too_large_for_a_store_is_refused_before_the_work(jpegs, tmp_path, monkeypatch):
    rows = aligned_rows(monkeypatch)
    monkeypatch.setattr(store, "MAX_MANIFEST_BYTES", 2**16 + 100)
    with pytest.raises(ValueError, match=r"such clips, and these are 6: split the data set"):
        prepare_store(jpegs, 32, tmp_path, progress=False)
    assert rows == []
    assert not [*tmp_path.glob("**/*.npy")]


def test_drawn_clips_and_loaded_ones_go_to_other_processes(tmp_path, landmarker):
    faces = SyntheticMicroExpressions(1, 3, image_size=224)
    synthesize("samm", tmp_path / "copy", faces, clips=3, faults=False)
    for data in (faces, load("samm", tmp_path / "copy")):
        samples = prepare(data, 32, folder=tmp_path / "stores", workers=2, progress=False)
        assert torch.equal(samples.apex, prepare(data, 32, landmarker=landmarker, progress=False).apex)


def test_a_store_stays_in_its_folder(tmp_path):
    data = SyntheticMicroExpressions(1, 2, image_size=64)
    data.name = "../../outside"
    place = prepare_store(data, 16, tmp_path / "stores", progress=False)
    assert place.parent == tmp_path / "stores"


def test_command(tmp_path, landmarker):
    synthesize("casme2", tmp_path / "copy", SyntheticMicroExpressions(1, 3, image_size=224), clips=3, faults=False)
    shutil.rmtree(next((tmp_path / "copy").rglob("EP*")))
    args = ["data", "prepare", "casme2", str(tmp_path / "copy"), "--labels", "2014", "--size", "56"]
    args += ["--out", str(tmp_path / "stores")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    assert "casme2: 1 of 3 clips cannot be used and are left out" in result.output
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
    place = prepare_store(jpegs, 56, tmp_path, progress=False)
    with alone(place), pytest.raises(OSError, match="another run"):
        prepare_store(jpegs, 56, tmp_path, progress=False)
    assert prepare_store(jpegs, 56, tmp_path, progress=False) == place


def test_a_whole_store_can_be_opened_while_it_is_prepared_again(jpegs, tmp_path, monkeypatch):
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    first, real, seen = open_store(place), store.align_row, []

    def while_others_open_it(*task):
        seen.append((place / "manifest.json").is_file() and torch.equal(open_store(place).apex, first.apex))
        return real(*task)

    monkeypatch.setattr(store, "align_row", while_others_open_it)
    prepare_store(jpegs, 32, tmp_path, progress=False)
    assert seen == [True] * 6
    clip = jpegs[2]
    clip.frames.items[clip.apex].write_bytes(clip.frames.items[clip.onset].read_bytes())
    prepare_store(jpegs, 32, tmp_path, progress=False)
    assert seen[6:] == [True] * 3 + [False] * 3, "what is in work is no store"


def test_another_landmarker_aligns_again(jpegs, tmp_path, monkeypatch):
    clip = replace(jpegs[0], landmarks=None)
    model = tmp_path / "model.task"
    sources = set()
    for content in (b"one", b"another"):
        model.write_bytes(content)
        monkeypatch.setenv("TSFMICRO_FACE_LANDMARKER", str(model))
        sources.add(store._source(clip, key_frames_only=True))
    assert len(sources) == 2


def test_annotations_come_back_as_they_were(jpegs, tmp_path):
    n = len(jpegs)
    jpegs.annotations = jpegs.annotations.assign(
        text=["006", "", None, "NA", "nan", "1.0"],
        apex=pd.array([*jpegs.annotations.apex[:-1], None], dtype="Int64"),
        number=np.nextafter(0.1, 1) * np.arange(n),
        gap=[0.5, None, *range(n - 2)],
    )
    jpegs.clips[-1] = replace(jpegs.clips[-1], frames=[np.full((96, 96, 3), i, np.uint8) for i in range(200)])
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    pd.testing.assert_frame_equal(open_store(place).table, jpegs.annotations, check_exact=True)


def test_an_unknown_tensor_is_named(jpegs, tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(ValueError, match="no tensor is called 'flow_raft': choose from onset, apex"):
            prepare(jpegs, 32, tensors=("onset", "flow_raft"), folder=folder)


def forged(place, change):
    """A store whose maker meant harm: the hash of its manifest is right."""
    manifest = json.loads((place / "manifest.json").read_text())
    change(manifest)
    del manifest["hash"]
    (place / "manifest.json").write_text(json.dumps(manifest | {"hash": store._hash(manifest)}))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(tensors=["../../secret"]),
        lambda m: m.update(size=10**9),
        lambda m: m.update(size="large"),
        lambda m: m.update(target="joy"),
        lambda m: m.update(annotations=3),
        lambda m: m["annotations"]["clip"][1].pop(),
        lambda m: m.pop("files"),
        lambda m: m["annotations"]["emotion"][1].__setitem__(0, None),
    ],
)
def test_a_forged_manifest_is_refused_in_one_sentence(jpegs, tmp_path, change):
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    forged(place, change)
    with pytest.raises(ValueError, match="prepare the data set again"):
        open_store(place)


def test_nothing_in_a_store_is_executed(jpegs, tmp_path):
    place = prepare_store(jpegs, 32, tmp_path, progress=False)
    np.save(place / "onset.npy", np.array([print], dtype=object), allow_pickle=True)
    forged(place, lambda m: m["files"].update({"onset": file_digest(place / "onset.npy")}))
    with pytest.raises(ValueError, match="prepare the data set again"):
        open_store(place)


def test_samples_are_a_torch_data_set(jpegs):
    samples = prepare(jpegs, 32, progress=False)
    batch = next(iter(DataLoader(samples.as_torch(), batch_size=4)))
    assert torch.equal(batch["apex"], samples.apex[:4])
    assert torch.equal(batch["label"], samples.label[:4])
