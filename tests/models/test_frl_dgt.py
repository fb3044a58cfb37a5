import numpy as np
import pytest
import torch

from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.models.frl_dgt import normalization, reconstruction, sample, self_supervised, smoothing, ssim
from tsfmicro_lab.models.vit import AU_REGIONS, crop_regions, region_centres
from tsfmicro_lab.training import Recipe, fit


def inputs(side=56, batch=2):
    points = torch.rand(batch, 30, 2) * (side - 1)
    return torch.randn(batch, 3, side, side), 0.1 * torch.randn(batch, 3, side, side), points


def test_losses_are_least_where_they_should_be():
    onset = torch.rand(1, 3, 32, 32)
    onset = torch.nn.functional.interpolate(onset, 64, mode="bicubic").clamp(0, 1)
    true = torch.zeros(1, 2, 64, 64)
    true[:, 0] = 1.5
    apex = sample(onset, -true, "bilinear")  # apex(x + 1.5) = onset(x)
    assert reconstruction(true, onset, apex) < 0.5 * reconstruction(torch.zeros_like(true), onset, apex)
    assert normalization(true) == pytest.approx(1.5**2)
    assert smoothing(true, onset) == 0
    step = true.clone()
    step[..., 32:] = 0
    flat, edge = torch.full_like(onset, 0.5), torch.full_like(onset, 0.0)
    edge[..., 32:] = 1
    assert smoothing(step, edge) < 0.01 * smoothing(step, flat)


def test_ssim_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    a = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), 40, mode="bicubic").clamp(0, 1)
    b = (a + 0.1 * torch.randn_like(a)).clamp(0, 1)
    for ours, x, y in zip(ssim(a, b, window=11), a.numpy(), b.numpy(), strict=True):
        settings = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0, "channel_axis": 0}
        _, theirs = structural_similarity(x, y, full=True, **settings)
        inside = (slice(None), slice(5, -5), slice(5, -5))  # the edges are padded in another way
        assert np.abs(ours.numpy() - theirs)[inside].max() < 1e-4
    assert ssim(a, a).min() > 1 - 1e-5


def test_every_loss_flows_back_into_the_displacement_network():
    model = create_model("frl_dgt", 3, seed=0)
    x = dict(zip(("onset", "difference", "landmarks"), inputs(), strict=True))
    model.loss(torch.tensor([0, 1]), **x).backward()
    both = model.dgm.out.weight.grad.clone()
    model.zero_grad()
    torch.nn.functional.cross_entropy(model(*x.values()), torch.tensor([0, 1])).backward()
    alone = model.dgm.out.weight.grad
    assert alone.abs().sum() > 0, "the classes tune the motion"
    assert not torch.allclose(both, alone)


def test_pretraining_knows_no_label_and_touches_only_the_displacement_network(data):
    from tsfmicro_lab.data import prepare

    model = create_model("frl_dgt", 5, seed=0, pretrain_epochs=2)
    samples = prepare(data, 56, tensors=model.prepared, progress=False)
    before = {n: p.clone() for n, p in model.named_parameters()}
    asked = []

    def batch_of(rows, names):
        asked.extend(rows.tolist())
        assert names == ("pairs",)
        return {n: samples[n][rows].float() for n in names}

    model.pretrain(torch.arange(6), batch_of, 2e-3)
    assert set(asked) == set(range(6)), "training clips only"
    changed = {n.split(".")[0] for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"dgm"}


def test_self_supervision_learns_motion():
    """On shifted noise the loss alone finds the shift."""
    torch.manual_seed(0)
    model = create_model("frl_dgt", 3, seed=0).dgm
    small = torch.rand(8, 3, 14, 14)
    onset = torch.nn.functional.interpolate(small, 56, mode="bicubic").clamp(0, 1)
    true = torch.zeros(8, 2, 56, 56)
    true[:, 0, 16:40, 16:40] = 1.0
    apex = sample(onset, -true, "bilinear")
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(60):
        loss = self_supervised(model(onset, apex), onset, apex, (10.0, 0.1, 0.01))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    displacement = model(onset, apex)
    assert 0.5 < displacement[:, 0, 22:34, 22:34].mean() < 1.5
    assert displacement.abs().max() <= model.reach * 56


def test_regions_follow_their_landmarks_with_gradient():
    image = torch.zeros(1, 1, 56, 56)
    points = torch.full((1, 30, 2), 28.0)
    centres = region_centres(points)
    assert centres.shape == (1, len(AU_REGIONS), 2)
    image[..., 28, 28] = 1
    image.requires_grad_()
    crops = crop_regions(image, points, 0.22, 13)
    assert crops[0, 0, 0].argmax() == 13 * 6 + 6
    crops.sum().backward()
    assert image.grad.abs().sum() > 0


def test_a_region_outside_the_image_is_named_and_one_at_its_edge_moved_inside():
    points = torch.full((2, 30, 2), 28.0)
    points[1, -1] = points[1, 24:29] = torch.tensor([28.0, 54.0])
    assert crop_regions(torch.rand(2, 3, 56, 56), points, 0.22, 9).isfinite().all()
    points[1] += 400
    with pytest.raises(ValueError, match=r"sample 1: region 'inner brows' around .* lies outside the 56×56 px image"):
        crop_regions(torch.rand(2, 3, 56, 56), points, 0.22, 9)
    points[1, 0] = float("nan")
    with pytest.raises(ValueError, match="check the clip's landmarks"):
        crop_regions(torch.rand(2, 3, 56, 56), points, 0.22, 9)


@pytest.mark.parametrize(
    "settings",
    [
        {"fusion": "after"},
        {"levels": ("local",)},
        {"levels": ("global", "full face")},
        {"displacement": "dis"},
        {"displacement": "tvl1", "levels": ("full face",)},
    ],
)
def test_every_ablation_runs_and_levels_add_up_to_the_logits(settings):
    model = create_model("frl_dgt", 4, seed=0, **settings).eval()
    x = [*inputs(), torch.randn(2, 2, 56, 56)][: len(model.input_names)]
    logits = model(*x)
    evidence = model.level_evidence(*x)
    assert tuple(evidence) == tuple(settings.get("levels", ("local", "global", "full face")))
    assert torch.allclose(sum(evidence.values()) + model.head.bias, logits, atol=1e-5)
    assert ("pairs" in model.prepared) == ("displacement" not in settings)


def test_mixing_before_attention_is_cheaper():
    from studies.anatomy import cost

    before, after = (cost(create_model("frl_dgt", 3, preset="base", fusion=f))[1] for f in ("before", "after"))
    assert before < after


def test_it_trains_and_comes_back_from_its_file(data, tmp_path):
    from tsfmicro_lab.data import prepare

    model = create_model("frl_dgt", 5, seed=0, pretrain_epochs=1)
    samples = prepare(data, 56, tensors=model.prepared, progress=False)
    losses = fit(model, samples, np.arange(16), Recipe(epochs=2))
    assert np.isfinite(losses).all()
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    assert torch.equal(model.logits(samples, [0, 1, 2]), again.logits(samples, [0, 1, 2]))
