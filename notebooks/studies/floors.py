"""What a network has to beat, and what it cannot: chance, linear models, a handcrafted descriptor, an oracle."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from studies.new_subjects import FLOW, WHOLE, Drawn

#: A linear model sees the mean of each of 7 × 7 fields of the picture.
FIELDS = 7
ORACLE = "oracle: true displacement"


def pooled(fields: Float[np.ndarray, "n channels side side"], cells: int = FIELDS) -> Float[np.ndarray, "n features"]:
    """Means of each channel over a grid of fields."""
    side = fields.shape[-1] // cells
    parts = fields[..., : side * cells, : side * cells].reshape(*fields.shape[:2], cells, side, cells, side)
    return parts.mean((3, 5)).reshape(len(fields), -1)


def main_directions(flow: Float[np.ndarray, "n 2 side side"], cells: int = 6) -> Float[np.ndarray, "n features"]:
    """MDMO, main directional mean optical flow: per region the mean of the flow vectors in its commonest direction.

    Of 8 directions, after Liu, Zhang, Yan, Wang, Zhao, Fu (IEEE Transactions on Affective Computing 7(4), 2016). There,
    36 regions follow the landmarks and all frames count; here a grid of 6 × 6 fields, and the flow to the apex alone.
    """
    side = flow.shape[-1] // cells
    parts = flow[..., : side * cells, : side * cells].reshape(-1, 2, cells, side, cells, side)
    u, v = np.moveaxis(parts, (1, 2, 4), (0, 2, 3)).reshape(2, len(flow), cells**2, side**2)
    sector = ((np.arctan2(v, u) + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    commonest = np.stack([(sector == k).sum(-1) for k in range(8)], -1).argmax(-1)
    chosen = sector == commonest[..., None]
    means = [(x * chosen).sum(-1) / chosen.sum(-1) for x in (u, v)]
    return np.concatenate(means, -1)


def lbp_top(frames: UInt8[np.ndarray, "n time 3 side side"], cells: int = 4) -> Float[np.ndarray, "n features"]:
    """LBP-TOP: how often each local pattern occurs in three planes of the clip, picture, rows and columns over time.

    Of 4 neighbours, brighter or not: 16 patterns, their shares in a grid of fields (Zhao, Pietikäinen, IEEE TPAMI
    29(6), 2007). Others interpolate clips to one length; here 11 frames stand for each.
    """
    grey = frames.astype(np.int16).sum(2)
    found = []
    for a, b in ((2, 3), (1, 3), (1, 2)):
        ways = ((a, 1), (b, 1), (a, -1), (b, -1))
        code = sum((np.roll(grey, step, axis) >= grey).astype(np.uint8) << bit for bit, (axis, step) in enumerate(ways))
        inside = np.asarray(code)[:, 1:-1, 1:-1, 1:-1]  # what was rolled in at the edges does not count
        side = inside.shape[-1] // cells
        parts = inside[..., : side * cells, : side * cells].reshape(len(grey), -1, cells, side, cells, side)
        found += [(parts == pattern).mean((1, 3, 5)).reshape(len(grey), -1) for pattern in range(16)]
    return np.concatenate(found, 1)


def _difference(drawn: Drawn) -> np.ndarray:
    frames = [drawn.samples[name].float().numpy() for name in ("onset", "apex")]
    return pooled((frames[1] - frames[0]).mean(1, keepdims=True))


def _flow(drawn: Drawn) -> np.ndarray:
    return np.asarray(drawn.samples[FLOW].float().numpy())


def _logistic() -> LogisticRegression:
    return LogisticRegression(C=0.3, max_iter=3000)


#: What each sees, and how it decides. Settings were tried on subjects of seeds 100 and 101, whom no table tests.
FLOORS: dict[str, tuple[Callable[[Drawn], np.ndarray], Callable[[], object]]] = {
    "chance": (lambda d: np.zeros((len(d.samples), 1)), lambda: DummyClassifier(strategy="stratified", random_state=0)),
    "majority": (lambda d: np.zeros((len(d.samples), 1)), DummyClassifier),
    "linear_difference": (_difference, _logistic),
    "linear_flow": (lambda d: pooled(_flow(d)), _logistic),
    "mdmo": (lambda d: main_directions(_flow(d)), lambda: SVC(C=3)),
    "lbp_top": (lambda d: lbp_top(d.samples[WHOLE].numpy()), lambda: LinearSVC(C=0.01)),
    ORACLE: (lambda d: d.oracle, _logistic),
}


def floor(name: str, train: Drawn, tests: dict[str, Drawn]) -> dict[str, np.ndarray]:
    """Predicted class, or units, of every test clip, for each kind of tested faces."""
    features, kind = FLOORS[name]
    label = train.samples.label.numpy()
    decides = kind() if label.ndim == 1 else MultiOutputClassifier(kind())
    model = make_pipeline(StandardScaler(), decides).fit(features(train), label)
    return {faces: model.predict(features(drawn)) for faces, drawn in tests.items()}
