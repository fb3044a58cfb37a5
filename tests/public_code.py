"""Weights for the networks of public codes, made by the rule by which those of the reference logits were made."""

import zlib

import numpy as np
import torch


def weight(name, shape):
    """A tensor by its name in the public code."""
    n = np.asarray(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape), np.float32)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("running_var"):
        n = 1 + 0.1 * np.abs(n)
    elif name.endswith("running_mean"):
        n = 0.1 * n
    elif name.endswith(".bias"):
        n = 0.02 * n
    elif "pos_embed" in name or "cls_token" in name:
        n = 0.2 * n
    elif len(shape) == 1:
        n = 1 + 0.1 * n
    else:
        n = n / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(n, np.float32))


def checkpoint(shapes):
    """A state dict of the public code."""
    return {name: weight(name, shape) for name, shape in shapes.items()}


def error(found, expected):
    """Largest error, as a share of the largest reference."""
    expected = torch.tensor(expected)
    return float((found - expected).abs().max() / expected.abs().max())
