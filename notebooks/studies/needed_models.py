"""What sees nothing but a displacement: strong classifiers of fields (N, 2, S, S), with features that do not turn."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int64
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

Fields = Float32[np.ndarray, "n 2 side side"]
Rows = Float32[np.ndarray, "n features"]
#: Trains on the first rows and their labels, and predicts the others.
Predict = Callable[[np.ndarray, Int64[np.ndarray, " n"], np.ndarray], np.ndarray]


def pooled(fields: Fields, cells: int = 16) -> Rows:
    """Mean displacement of cells, as the picture shows them."""
    small = [cv2.resize(np.moveaxis(f, 0, -1), (cells, cells), interpolation=cv2.INTER_AREA).ravel() for f in fields]
    return np.stack(small).astype(np.float32)


def without_head(fields: Fields, rounds: int = 6) -> Fields:
    """What is left when the head's motion is taken out: an affine field, fitted where most pixels agree with it."""
    x, y = _grid(fields.shape[-1])
    terms = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    left = np.empty_like(fields)
    for i, field in enumerate(fields):
        moved, weight = field.reshape(2, -1).T, np.ones((len(terms), 1), np.float32)
        for _ in range(rounds):
            fit = np.linalg.solve((terms * weight).T @ terms + 1e-9 * np.eye(3), (terms * weight).T @ moved)
            rest = moved - terms @ fit
            length = np.hypot(*rest.T)
            weight = (1 / (1 + (length / (1.5 * np.median(length) + 1e-4)) ** 2))[:, None]
        left[i] = rest.T.reshape(field.shape)
    return left


def patches(fields: Fields, side: int = 20, reach: float = 3.0) -> Float32[np.ndarray, "n 3 s s"]:
    """What moves, cut out, moving to the right, all equally large: two components, and whether it is in the picture."""
    size, found = fields.shape[-1], []
    for field in fields:
        (cx, cy), spread, (c, s), top = _pose(field)
        ticks = np.linspace(-reach, reach, side) * spread
        u, v = np.meshgrid(ticks, ticks)
        x, y = (cx + c * u - s * v).astype(np.float32), (cy + s * u + c * v).astype(np.float32)
        dx, dy = (cv2.remap(np.ascontiguousarray(f), x, y, cv2.INTER_LINEAR, borderValue=0) for f in field)
        inside = (x >= 0) & (y >= 0) & (x < size) & (y < size)
        found.append(np.stack([(c * dx + s * dy) / top, (c * dy - s * dx) / top, inside]))
    return np.stack(found).astype(np.float32)


def invariants(fields: Fields) -> Rows:
    """Numbers that turning does not change: moments of what moves, along and across its way, and its derivatives."""
    x, y = _grid(fields.shape[-1])
    size, rows = fields.shape[-1], []
    for field in fields:
        (cx, cy), spread, (c, s), top = _pose(field)
        px, py = x * size + (size - 1) / 2 - cx, y * size + (size - 1) / 2 - cy
        a, b = (c * px + s * py) / spread, (c * py - s * px) / spread
        along, across = (c * field[0] + s * field[1]) / top, (c * field[1] - s * field[0]) / top
        length = np.hypot(along, across)
        weight = length**2 / (length**2).sum()
        row = [spread, top, top / spread, *np.quantile(length, (0.25, 0.5, 0.75, 0.9, 0.95))]
        row += [(length > 0.5).mean(), (length > 0.25).mean() / (length > 0.5).mean()]
        for p, q in ((i, j) for i in range(4) for j in range(4 - i)):
            basis = weight * a**p * b**q
            row += [basis.sum(), (basis * along / (length + 1e-6)).sum(), (basis * across / (length + 1e-6)).sum()]
        (uy, ux), (vy, vx) = np.gradient(field[0] / top), np.gradient(field[1] / top)
        for part in (ux + vy, vx - uy, np.hypot(ux - vy, uy + vx)):
            part = part * spread
            row += [part.mean(), (weight * part).sum(), part.std(), *np.quantile(part, (0.01, 0.99))]
        angle = np.arctan2(across, along)
        row += [(weight * turn(k * angle)).sum() for k in range(1, 5) for turn in (np.cos, np.sin)]
        rows.append(row)
    return np.nan_to_num(np.array(rows, np.float32))


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres from -0.5 to 0.5."""
    ticks = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    x, y = np.meshgrid(ticks, ticks)
    return x, y


def _pose(field: np.ndarray) -> tuple[tuple[float, float], float, tuple[float, float], float]:
    """Centre and spread of what moves, the direction in which it does, and its largest displacement."""
    y, x = np.mgrid[: field.shape[1], : field.shape[2]].astype(np.float32)
    length = np.hypot(*field)
    weight = (length**2 + 1e-12) / (length**2 + 1e-12).sum()
    cx, cy = float((weight * x).sum()), float((weight * y).sum())
    spread = float(np.sqrt((weight * ((x - cx) ** 2 + (y - cy) ** 2)).sum())) + 0.5
    way = (weight * field).sum((1, 2))
    way = way / (np.hypot(*way) + 1e-12)
    return (cx, cy), spread, (float(way[0]), float(way[1])), float(length.max()) + 1e-9


def _estimator(make: Callable[[], Any]) -> Predict:
    return lambda train, label, test: np.asarray(make().fit(train, label).predict(test))


def network(turned: bool, epochs: int = 12) -> Predict:
    """A small CNN of six layers; `turned` shows it every field in other turns and sizes, and pools over places."""

    def predict(train: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
        torch.manual_seed(0)
        known, new = (torch.from_numpy(x / np.abs(x).max((1, 2, 3), keepdims=True)).float() for x in (train, test))
        target, widths = torch.from_numpy(label), (known.shape[1], 24, 48, 72)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            for i, o, stride in ((a, b, 1), (b, b, 2)):
                layers += [nn.Conv2d(i, o, 3, stride, 1), nn.BatchNorm2d(o), nn.ReLU()]
        layers += [nn.AdaptiveMaxPool2d(1)] * turned + [
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.LazyLinear(int(label.max()) + 1),
        ]
        net = nn.Sequential(*layers)
        net(known[:2])
        optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs * (len(known) // 64))
        for _ in range(epochs):
            for batch in torch.randperm(len(known))[: len(known) // 64 * 64].split(64):
                x = _turn(known[batch]) if turned else known[batch]
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), target[batch], label_smoothing=0.05).backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            return np.concatenate([net.eval()(part).argmax(1).numpy() for part in new.split(256)])

    return predict


def _turn(x: Tensor) -> Tensor:
    """Fields in a random turn and size each, their vectors turned along."""
    angle, zoom = 2 * torch.pi * torch.rand(len(x)), torch.exp(0.5 * torch.rand(len(x)) - 0.25)
    c, s, none = torch.cos(angle), torch.sin(angle), torch.zeros(len(x))
    matrix = torch.stack([torch.stack([c, -s, none], 1), torch.stack([s, c, none], 1)], 1) / zoom[:, None, None]
    grid = nn.functional.affine_grid(matrix, list(x.shape), align_corners=False)
    u, v = nn.functional.grid_sample(x, grid, align_corners=False).unbind(1)
    c, s = c[:, None, None], s[:, None, None]
    return torch.stack([c * u + s * v, c * v - s * u], 1)


def everything(fields: Fields) -> dict[str, np.ndarray]:
    """All that the models read, by name."""
    local = without_head(fields)
    parts = patches(local)
    numbers = np.c_[invariants(fields), invariants(local)]
    return {
        "pooled": pooled(fields),
        "local pooled": pooled(local),
        "patch": parts.reshape(len(parts), -1),
        "patch picture": parts,
        "invariants": numbers,
        "patch and invariants": np.c_[parts.reshape(len(parts), -1), numbers],
        "small field": pooled(fields, 24).reshape(-1, 24, 24, 2).transpose(0, 3, 1, 2),
        "small local field": pooled(local, 24).reshape(-1, 24, 24, 2).transpose(0, 3, 1, 2),
    }


_LINEAR = _estimator(lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)))
_FOREST = _estimator(lambda: RandomForestClassifier(200, min_samples_leaf=2, random_state=0))
_BOOSTED = _estimator(lambda: HistGradientBoostingClassifier(learning_rate=0.08, max_leaf_nodes=15, random_state=0))
_NEAREST = _estimator(lambda: KNeighborsClassifier(5, weights="distance"))
#: Name → what it reads of :func:`everything`, and how it learns.
MODELS: dict[str, tuple[str, Predict]] = {
    "logistic regression, pooled": ("pooled", _LINEAR),
    "logistic regression, pooled, without the head": ("local pooled", _LINEAR),
    "random forest, pooled": ("pooled", _FOREST),
    "nearest neighbours, pooled": ("pooled", _NEAREST),
    "logistic regression, patch": ("patch", _LINEAR),
    "nearest neighbours, patch": ("patch", _NEAREST),
    "gradient boosting, invariants": ("invariants", _BOOSTED),
    "random forest, patch and invariants": ("patch and invariants", _FOREST),
    "CNN, patch": ("patch picture", network(turned=False)),
    "CNN, field": ("small field", network(turned=False)),
    "CNN, field in every turn": ("small local field", network(turned=True)),
}
