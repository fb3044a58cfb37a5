"""Folds stacked in one program with `torch.func`: the weights of all folds along a new axis, one pass for all.

Two things stand in the way. Batch norm keeps running statistics, which are stacked like weights. And stochastic depth
draws inside the pass, so the draws of a stack differ from those of single runs; without it both agree to rounding.
Only folds with equally many training clips can share a program, since their batches must be alike. Therefore stacking
is measured here and is no part of the package.
"""

import copy
from functools import partial

import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from studies.speed import seconds
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.retention import DropPath


def stacked_step(models, lr=1e-3):
    """A training step of all models at once, SGD; returns the function and the stacked weights and buffers."""
    weights, buffers = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    weights = {name: w.detach() for name, w in weights.items()}

    def loss_of(weights, buffers, onset, difference, label):
        logits = functional_call(skeleton, (weights, buffers), (onset, difference))
        return F.cross_entropy(logits, label)

    many = vmap(grad_and_value(loss_of), in_dims=(0, 0, 0, 0, 0), randomness="different")

    def step(onset, difference, label):
        grads, losses = many(weights, buffers, onset, difference, label)
        torch._foreach_add_(list(weights.values()), [grads[name] for name in weights], alpha=-lr)
        return losses

    return step, weights, buffers


def single_step(model, lr=1e-3):
    parameters = list(model.parameters())

    def step(onset, difference, label):
        loss = F.cross_entropy(model(onset, difference), label)
        grads = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, grads, alpha=-lr)
        return loss.detach()

    return step


def one_by_one(steps, data):
    return [step(*(x[i] for x in data)) for i, step in enumerate(steps)]


def without_draws(model):
    for module in model.modules():
        if isinstance(module, DropPath):
            module.rate = 0.0
    return model


def compare_stacked(device, left):
    """Time of a step of several tiny models, one after another and stacked, and how far their weights end apart."""
    rows, batch = [], 8
    for folds in (2, 8) if device == "cpu" else (8, 26, 64):
        if left() < 20:
            break
        models = [without_draws(create_model("tsfmicro_late", 5, "tiny", seed=i)).to(device) for i in range(folds)]
        onset, difference = torch.randn(2, folds, batch, 3, 56, 56, device=device)
        label = torch.arange(folds * batch, device=device).view(folds, batch) % 5
        data = (onset, difference, label)
        together, weights, _ = stacked_step([copy.deepcopy(m) for m in models])
        alone, stacked = partial(one_by_one, [single_step(m) for m in models], data), partial(together, *data)
        alone()
        stacked()
        apart = max(
            float((weights[name][i] - p.detach()).abs().max())
            for i, model in enumerate(models)
            for name, p in model.named_parameters()
        )
        one, all_ = seconds(alone), seconds(stacked)
        rows.append({"folds": folds, "batch": batch, "alone_ms": 1e3 * one, "stacked_ms": 1e3 * all_})
        rows[-1] |= {"ratio": one / all_, "weights_apart_after_a_step": apart}
        print(rows[-1], flush=True)
    return rows
