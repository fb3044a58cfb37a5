"""Benchmarks: `make bench`. Without it each runs once, as a test."""

import cv2
import pytest
import torch
from jpeg_clips import JpegClips

from tsfmicro_lab.clips import Clip, LazyFrames, read_image
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.rendering import Camera
from tsfmicro_lab.data.tensors import prepare_clip
from tsfmicro_lab.explain import METHODS, where_how
from tsfmicro_lab.explain.regions import clip_regions
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.preprocess import align_clip
from tsfmicro_lab.widgets import OnsetApexExplorer


@pytest.fixture(scope="module", params=[(224, 1), (224, 3), (128, 3)], ids=["short hair", "locks", "locks, 128 px"])
def head_clips(request):
    """Clips of a head with and without locks of hair, painted already."""
    size, subject = request.param
    data = SyntheticMicroExpressions(4, 5, image_size=size)
    data.face(subject)
    return data, 5 * subject


@pytest.mark.benchmark(group="paint a head")
def test_paint_a_head(benchmark):
    face = benchmark(draw_head, Person.draw(0))
    assert len(face.vertices) == len(face.uv)


@pytest.mark.benchmark(group="a frame of a clip")
def test_render_frame(benchmark, head_clips):
    data, i = head_clips
    moving = data.moving_face(i)
    assert benchmark(moving.render, moving.motion.apex).shape == (data.image_size, data.image_size, 3)


@pytest.mark.benchmark(group="onset and apex of a clip, and its truth (clips per second)")
@pytest.mark.parametrize("truth", [False, True], ids=["frames", "frames and truth"])
def test_render_clip(benchmark, head_clips, truth):
    data, i = head_clips

    def onset_and_apex():
        clip = data[i]
        return clip.frame(clip.onset), clip.frame(clip.apex), truth and clip.truth.visible

    onset, apex, _ = benchmark(onset_and_apex)
    assert onset.shape == apex.shape == (data.image_size, data.image_size, 3)


@pytest.fixture
def passes(monkeypatch):
    """How often something is drawn, triangle by triangle, which takes most of the time."""
    counted, drawn = [], Camera.rasterize

    def count(*arguments):
        counted.append(1)
        return drawn(*arguments)

    monkeypatch.setattr(Camera, "rasterize", count)

    def of(run):
        counted.clear()
        run()
        return len(counted)

    return of


def test_a_truth_costs_no_more_than_its_two_frames(passes):
    data = SyntheticMicroExpressions(1, 2, image_size=224)
    moving = data.moving_face(1)
    keys = moving.motion.onset, moving.motion.apex
    frames, truth = passes(lambda: [moving.render(i) for i in keys]), passes(lambda: data[1].truth.field)
    assert 0 < truth <= frames


def test_a_moving_face_costs_next_to_nothing_until_it_is_drawn(passes):
    data = SyntheticMicroExpressions(1, 2, image_size=224)
    data.face(0)
    assert passes(lambda: data[1]) == 0
    assert passes(lambda: data[1].frame(0)) > 0


@pytest.mark.benchmark(group="align two frames")
@pytest.mark.parametrize("size", [56, 224])
def test_align_clip(benchmark, data, size):
    clip = data[0]
    frames = [clip.frame(i) for i in range(len(clip.frames))]

    def align():
        aligned = align_clip(type(clip)(**{**vars(clip), "frames": frames, "truth": None}), size)
        return aligned.frame(aligned.onset), aligned.frame(aligned.apex)

    assert benchmark(align)[1].shape == (size, size, 3)


@pytest.mark.benchmark(group="retention on a 28×28 grid, 4 samples")
@pytest.mark.parametrize("decomposed", [True, False], ids=["decomposed", "full"])
def test_retention(benchmark, decomposed):
    layer = ManhattanRetention(32, 2, 28, decomposed=decomposed).eval()
    x = torch.randn(4, 28, 28, 32)
    with torch.no_grad():
        assert benchmark(layer, x).shape == x.shape


@pytest.mark.benchmark(group="training step, 8 samples of 56 px")
@pytest.mark.parametrize("name", ["tsfmicro_late", "tsfmicro_temporal", "tsfmicro_spatial"])
def test_training_step(benchmark, name):
    model = create_model(name, 5, "tiny")
    x = [torch.randn(8, 3, 56, 56) for _ in model.input_names]

    def step():
        model.zero_grad()
        loss = model(*x).square().mean()
        loss.backward()
        return loss

    assert torch.isfinite(benchmark(step))


@pytest.mark.benchmark(group="where-how map")
@pytest.mark.parametrize("method", [name for name in METHODS if name != "DeepLift"])
def test_where_how(benchmark, data, method):
    model = create_model("tsfmicro_late", 5, "tiny")
    sample = {name: torch.randn(3, 56, 56) for name in model.input_names}
    regions = clip_regions(align_clip(data[0], 56))
    assert benchmark(where_how, model, sample, method=method, regions=regions)["difference"].shape == (56, 56)


@pytest.mark.benchmark(group="one step of the apex handle, 224 px")
@pytest.mark.parametrize("with_model", [False, True], ids=["pictures", "pictures and prediction"])
def test_slider_step(benchmark, with_model):
    data = SyntheticMicroExpressions(1, 2, image_size=224)
    model = create_model("tsfmicro_late", 5) if with_model else None
    explorer = OnsetApexExplorer(data[0], model, list("abcde") if with_model else None)
    first, last = explorer.onset, explorer.shown.offset

    def step():
        explorer.apex = explorer.apex + 1 if explorer.apex < last else first

    benchmark(step)
    assert explorer.message.value == ""


@pytest.mark.benchmark(group="read onset and apex of 20 clips back, 224 px")
@pytest.mark.parametrize("way", ["store", "jpeg"])
def test_read_back(benchmark, tmp_path, way):
    data = JpegClips(SyntheticMicroExpressions(2, 10, image_size=224), tmp_path / "jpegs")
    if way == "store":
        samples = prepare(data, 224, folder=tmp_path / "store", progress=False)
        index = torch.arange(20)
        batch = benchmark(samples.pick, index)
        assert batch["apex"].shape == (20, 3, 224, 224)
        return
    paths = [clip.frames.items[i] for clip in data.clips for i in (clip.onset, clip.apex)]
    assert len(benchmark(lambda: [read_image(path) for path in paths])) == 40


@pytest.mark.benchmark(group="decode, landmark and align a photographed clip")
@pytest.mark.parametrize("landmarks", ["found", "given"])
def test_decode_landmark_align(benchmark, tmp_path, landmarker, landmarks):
    from skimage.data import astronaut

    path = tmp_path / "face.jpg"
    cv2.imwrite(str(path), astronaut()[..., ::-1])
    points = landmarker(astronaut()) if landmarks == "given" else None
    clip = Clip("a", "s", LazyFrames(read_image, [path, path]), 0, 1, 1, landmarks=points)
    assert benchmark(prepare_clip, clip, 224, landmarker=landmarker)["apex"].shape == (3, 224, 224)
