"""Whole training steps replayed as CUDA graphs, for many small networks side by side on one GPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.seeds import seeded
from tsfmicro_lab.training import Recipe, fit
from tsfmicro_lab.training.augmentation import Augmentation
from tsfmicro_lab.training.device import find_device
from tsfmicro_lab.training.loop import _batches, _check_labels, criterion_of, recalibrate, training_batch


def fit_graphed(
    model: Recognizer,
    samples: Samples,
    index: np.ndarray,
    recipe: Recipe,
    *,
    seed: int = 0,
    accelerator: str = "cuda",
    after_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """The steps of `tsfmicro_lab.training.fit`, each replayed as one graph, from augmentation to AdamW.

    A GPU waits for the CPU to launch each kernel; a graph launches all of a step at once. Random numbers are drawn in
    another order than by `fit`, so the numbers differ as those of another training. On a CPU nothing is recorded, and
    the steps are those of `fit`. What a graph cannot hold is left to `fit`: models that read landmarks or pretrain, and
    recurrent layers: in each of four seeds SLSTT's LSTM had 0.08 to 0.41 less UF1 in graphs than from a CPU.

    It takes what `fit` takes; of the recipe, AdamW without clipping of the gradient, patience or strongest pair.

    Returns:
        Mean training loss of each epoch.
    """
    unusual = recipe.optimizer != "adamw" or recipe.clip_norm or recipe.patience or recipe.strongest_pair
    if unusual or "landmarks" in model.prepared or any(isinstance(m, torch.nn.RNNBase) for m in model.modules()):
        known: dict[str, Any] = {"seed": seed, "accelerator": accelerator, "after_epoch": after_epoch}
        return fit(model, samples, index, recipe, **known)
    device = find_device(accelerator)
    model, samples, clips = model.to(device), samples.to(device), torch.from_numpy(index)
    _check_labels(model, samples, index)
    rate, total = (torch.tensor(x, device=device) for x in (recipe.lr, 0.0))
    on_gpu = device.type == "cuda"
    decay, parameters = recipe.weight_decay, model.parameters()
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True, capturable=on_gpu)
    criterion = criterion_of(recipe, samples.label[index], model.config.num_classes)
    augment = Augmentation(model.config.image_size, recipe.degrees, recipe.shift, recipe.flip)
    shuffle, losses = torch.Generator().manual_seed(seed), []

    def step(rows: Tensor) -> None:
        batch = augment(training_batch(samples, rows, model.prepared))
        loss = model.loss(batch["label"], criterion, **model.inputs(batch))
        total.add_(loss.detach() * len(rows))
        loss.backward()
        optimizer.step()

    replay: dict[int, Callable[[Tensor], None]] = {}
    with seeded(seed):
        for epoch in range(1, recipe.epochs + 1):
            model.train()
            rate.fill_(recipe.lr * recipe.rate(epoch))
            batches = _batches(clips, recipe.batch_size, shuffle)
            for rows in batches if on_gpu else ():
                if len(rows) not in replay:
                    replay[len(rows)] = _recorded(step, model, optimizer, rows.to(device))
            total.zero_()
            for rows in batches:
                if on_gpu:
                    replay[len(rows)](rows)
                else:
                    optimizer.zero_grad()
                    step(rows)
            losses.append(float(total) / len(index))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss of {model.name} is not finite in epoch {epoch}: try a smaller lr")
            model.eval()
            if recipe.recalibrate and (after_epoch or epoch == recipe.epochs):
                recalibrate(model, samples, index, recipe)
            if after_epoch:
                after_epoch(epoch, losses[-1])
    return losses


def _recorded(
    step: Callable[[Tensor], None], model: Recognizer, optimizer: torch.optim.Optimizer, rows: Tensor
) -> Callable[[Tensor], None]:
    """A step as a graph, for batches of this size; what the steps that warm up changed is put back."""
    kept = {name: x.clone() for name, x in model.state_dict().items()}
    states = {p: {name: x.clone() for name, x in own.items()} for p, own in optimizer.state.items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            optimizer.zero_grad()
            step(rows)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad()  # the graph makes gradients of its own
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step(rows)
    model.load_state_dict(kept)
    for parameter, own in optimizer.state.items():
        for name, x in own.items():
            x.copy_(states[parameter][name]) if parameter in states else x.zero_()

    def replay(others: Tensor) -> None:
        rows.copy_(others)
        graph.replay()

    return replay
