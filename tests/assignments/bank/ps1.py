"""ps1: alignment, the difference frame, the apex, the end-point error, the best flow."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter, sobel
from skimage.metrics import structural_similarity

from assignments.solutions import checks
from tsfmicro_lab.preprocess import FLOWS, apply_alignment, endpoint_error, estimate_alignment, optical_flow
from tsfmicro_lab.preprocess.keyframes import difference_frame, normalized_grey


def aligned(frames, landmarks, size):
    """Each frame by its own landmarks."""
    return np.stack(
        [apply_alignment(f, estimate_alignment(p, size), size) for f, p in zip(frames, landmarks, strict=True)]
    )


def once(frames, points, size, change=lambda f: f):
    """All frames by one set of landmarks."""
    matrix = estimate_alignment(points, size)
    return np.stack([change(apply_alignment(f, matrix, size)) for f in frames])


def preallocated(frames, landmarks, size):
    out = np.zeros((len(frames), size, size, 3), np.uint8)
    matrix = estimate_alignment(landmarks[0], size)
    for i in range(len(frames)):
        out[i] = apply_alignment(frames[i], matrix, size)
    return out


def by_hand(frames, landmarks, size, flags=cv2.INTER_CUBIC):
    matrix = estimate_alignment(landmarks[0], size)
    scale, out = np.linalg.norm(matrix[:, 0]), []
    for frame in frames:
        if scale < 1:
            frame = cv2.GaussianBlur(frame, (0, 0), (1 / scale - 1) / 2, borderType=cv2.BORDER_REFLECT)
        out.append(cv2.warpAffine(frame, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT))
    return np.array(out)


def in_place(frames, landmarks, size):
    matrix = estimate_alignment(landmarks[0], size)
    for i, frame in enumerate(frames):
        frames[i] = apply_alignment(frame, matrix, size)
    return frames


def translated(frames, landmarks, size):
    x, y = landmarks[0, [6, 8, 10, 12]].mean(0).astype(int)
    return np.stack([cv2.resize(np.roll(f, (40 - y, 48 - x), (0, 1)), (size, size)) for f in frames])


def smoothed(frames, landmarks, size):
    return aligned(frames, gaussian_filter(landmarks, (1, 0, 0)), size)


ALIGN = [
    ("trivial", "nothing", lambda f, p, s: None, "got None: is a `return` missing"),
    ("trivial", "black", lambda f, p, s: np.zeros((len(f), s, s, 3), np.uint8), "the movement is gone"),
    ("trivial", "as they came", lambda f, p, s: f, r"expected \d frames of 56 px"),
    ("trivial", "resized", lambda f, p, s: np.stack([cv2.resize(i, (s, s)) for i in f]), "resized, not aligned"),
    (
        "trivial",
        "noise",
        lambda f, p, s: np.random.default_rng(0).integers(0, 256, (len(f), s, s, 3)).astype(np.uint8),
        "treated on its own",
    ),
    ("trivial", "the middle cut out", lambda f, p, s: np.stack([i[:s, :s] for i in f]), "is wrong"),
    ("shortcut", "the onset alone", lambda f, p, s: once(f[:1] * len(f), p[0], s), "the movement is gone"),
    ("shortcut", "only shifted", translated, "is wrong"),
    (
        "shortcut",
        "one standard matrix",
        lambda f, p, s: np.stack([apply_alignment(i, MEAN(s), s) for i in f]),
        "is wrong",
    ),
    ("shortcut", "always 56 px", lambda f, p, s: once(f, p[0], 56), "expected 5 frames of 80 px"),
    ("shortcut", "five frames, always", lambda f, p, s: once(f, p[0], s)[[0, 1, 2, -2, -1]], "expected 3 frames"),
    ("shortcut", "squares, always", lambda f, p, s: once([cv2.resize(i, (96, 96)) for i in f], p[0], s), "is wrong"),
    ("typical", "each frame by its own landmarks", aligned, r"a still face now moves by 0\.\d px"),
    ("typical", "landmarks smoothed over time", smoothed, "treated on its own"),
    ("typical", "mean of the landmarks", lambda f, p, s: once(f, p.mean(0), s), "the mean of all landmarks"),
    ("typical", "median of the landmarks", lambda f, p, s: once(f, np.median(p, 0), s), "is wrong"),
    ("typical", "last landmarks", lambda f, p, s: once(f, p[-1], s), "the last frame's landmarks"),
    ("typical", "second landmarks", lambda f, p, s: once(f, p[1], s), "is wrong"),
    ("typical", "0 to 1", lambda f, p, s: once(f, p[0], s) / 255, "frames are uint8, 0 to 255, got float64"),
    ("typical", "BGR", lambda f, p, s: once(f, p[0], s)[..., ::-1], "another order: the frames are RGB"),
    ("typical", "backwards", lambda f, p, s: once(f, p[0], s)[::-1], "came back in another order"),
    ("typical", "transposed", lambda f, p, s: once(f, p[0], s).swapaxes(1, 2), "rows and columns are swapped"),
    ("typical", "twice", lambda f, p, s: once(once(f, p[0], s), p[0], s), "is wrong"),
    ("typical", "channels first", lambda f, p, s: once(f, p[0], s).transpose(0, 3, 1, 2), r"\(5, 56, 56, 3\)"),
    ("typical", "one frame lost", lambda f, p, s: once(f[1:], p[0], s), "got 4 items"),
    ("typical", "landmarks off by a pixel", lambda f, p, s: once(f, p[0] + 1, s), "is wrong"),
    ("right", "a loop into an array", preallocated),
    ("right", "cv2 by hand", by_hand),
    ("right", "in place, a list", in_place),
    ("right", "a generator", lambda f, p, s: (apply_alignment(i, estimate_alignment(p[0], s), s) for i in f)),
    ("right", "a tuple", lambda f, p, s: tuple(once(f, p[0], s))),
    ("right", "a tensor", lambda f, p, s: torch.from_numpy(once(f, p[0], s))),
    ("right", "float landmarks of 32 bit", lambda f, p, s: once(f, p[0].astype(np.float32), s)),
    ("right", "by way of floats", lambda f, p, s: once(f, p[0], s).astype(float).round().astype(np.uint8)),
]


def MEAN(size):
    return np.array([[size / 96, 0, 0], [0, size / 96, 0]])


def minus(dtype):
    return lambda a, b: b.astype(dtype) - a.astype(dtype)


def in_loops(a, b):
    out = np.zeros(a.shape)
    for place in np.ndindex(a.shape):
        out[place] = int(b[place]) - int(a[place])
    return out


def cumulative(a, b):
    out = b.astype(np.float64)
    out -= a
    return out


DIFFERENCE = [
    ("trivial", "nothing", lambda a, b: None, "got None"),
    ("trivial", "zero", lambda a, b: np.zeros(a.shape), "is wrong"),
    ("trivial", "the apex", lambda a, b: b, "that is the apex frame"),
    ("trivial", "the onset", lambda a, b: a, "is wrong"),
    ("trivial", "noise", lambda a, b: np.random.default_rng(0).normal(size=a.shape), "is wrong"),
    ("trivial", "one number", lambda a, b: float(b.mean() - a.mean()), "must have shape"),
    ("trivial", "text", lambda a, b: "apex - onset", "must return an array, got str"),
    ("shortcut", "the lab's own", difference_frame, r"calls tsfmicro_lab.*write the steps yourself"),
    (
        "shortcut",
        "small ones dropped",
        lambda a, b: np.where(abs(minus(int)(a, b)) > 2, minus(int)(a, b), 0),
        "is wrong",
    ),
    ("shortcut", "rounded to fives", lambda a, b: (minus(float)(a, b) / 5).round() * 5, "is wrong"),
    ("shortcut", "blurred", lambda a, b: cv2.blur(minus(np.float32)(a, b), (3, 3)), "is wrong"),
    ("typical", "bytes", lambda a, b: b - a, "bytes wrapped: 3 - 5"),
    ("typical", "int8", lambda a, b: b.astype(np.int8) - a.astype(np.int8), "int8 ends at 127"),
    ("typical", "bytes, then floats", lambda a, b: (b - a).astype(float), "bytes wrapped"),
    ("typical", "turned", lambda a, b: a.astype(float) - b, "the sign is turned"),
    ("typical", "absolute", cv2.absdiff, "the sign is lost"),
    ("typical", "absolute of floats", lambda a, b: abs(minus(float)(a, b)), "the sign is lost"),
    ("typical", "squared", lambda a, b: minus(float)(a, b) ** 2, "is wrong"),
    ("typical", "saturated", lambda a, b: cv2.subtract(b, a), "cut to 0"),
    ("typical", "grey", lambda a, b: minus(float)(a, b).mean(-1), "keep the three colours"),
    ("typical", "one colour", lambda a, b: minus(float)(a, b)[..., :1], "must have shape"),
    ("typical", "0 to 1", lambda a, b: minus(float)(a / 255, b / 255), "do not divide"),
    ("typical", "halved around 128", lambda a, b: minus(float)(a, b) / 2 + 128, "is wrong"),
    (
        "typical",
        "divided by its largest",
        lambda a, b: minus(float)(a, b) / abs(minus(float)(a, b)).max(),
        "do not divide",
    ),
    ("typical", "cut at 127", lambda a, b: minus(float)(a, b).clip(-127, 127), "is wrong"),
    ("typical", "brightness removed", lambda a, b: minus(float)(a, b) - minus(float)(a, b).mean(), "is wrong"),
    ("typical", "colours turned round", lambda a, b: minus(float)(a, b)[..., ::-1], "is wrong"),
    ("right", "float64", minus(np.float64)),
    ("right", "float32", minus(np.float32)),
    ("right", "float16", minus(np.float16)),
    ("right", "int16", minus(np.int16)),
    ("right", "numpy with a dtype", lambda a, b: np.subtract(b, a, dtype=np.float32)),
    ("right", "OpenCV with a dtype", lambda a, b: cv2.subtract(b, a, dtype=cv2.CV_32F)),
    ("right", "torch", lambda a, b: torch.from_numpy(b).float() - torch.from_numpy(a).float()),
    ("right", "in place", cumulative),
    ("right", "a list of lists", lambda a, b: minus(int)(a, b).tolist()),
    ("right", "a loop over bytes", in_loops),
]


def distances(frames, onset, change, between=lambda a, b: np.abs(a - b).mean()):
    seen = [change(f) for f in frames]
    return np.array([between(f, seen[onset]) for f in seen])


def grey(frame):
    """Without the light of the lamp."""
    return frame.astype(float).mean(-1) / frame.mean()


def spot(change=grey, between=lambda a, b: np.abs(a - b).mean(), start=None, whole=False):
    """The frame that is farthest from the onset frame; `start` is what the index counts from."""

    def spotted(frames, onset, offset):
        if whole:
            return int(np.argmax(distances(frames, onset, change, between)))
        found = int(np.argmax(distances(frames[onset : offset + 1], 0, change, between)))
        return (onset if start is None else start) + found

    return spotted


def at(share):
    return lambda frames, onset, offset: round(onset + share * (offset - onset))


def by_speed(frames, onset, offset):
    return (
        onset
        + 1
        + int(np.argmax([np.abs(b.astype(float) - a).mean() for a, b in pairwise(frames[onset : offset + 1])]))
    )


def by_speed_of_grey(frames, onset, offset):
    return (
        onset + 1 + int(np.argmax([np.abs(grey(b) - grey(a)).mean() for a, b in pairwise(frames[onset : offset + 1])]))
    )


def first_peak(frames, onset, offset):
    """The first frame after which the distance falls."""
    d = distances(frames[onset : offset + 1], 0, grey)
    return onset + next((i for i in range(1, len(d) - 1) if d[i] > d[i + 1]), len(d) - 1)


def by_loop(frames, onset, offset):
    best, where, i = -1.0, onset, onset
    while i <= offset:
        distance = np.linalg.norm(grey(frames[i]) - grey(frames[onset]))
        if distance > best:
            best, where = distance, i
        i += 1
    return where


def by_flow(frames, onset, offset):
    """The longest flow from the onset frame; every second frame will do."""
    steps = range(onset + 1, offset + 1, 3)
    return max(steps, key=lambda i: np.hypot(*optical_flow(frames[onset], frames[i], "farneback")).mean())


def smooth_curve(frames, onset, offset):
    return onset + int(np.argmax(gaussian_filter(distances(frames[onset : offset + 1], 0, grey), 1.5)))


def standard(frame):
    g = frame.astype(float).mean(-1)
    return (g - g.mean()) / g.std()


class Clip(NamedTuple):
    frames: list

    def frame(self, i):
        return self.frames[i]


def by_the_lab(frames, onset, offset):
    seen = [normalized_grey(f) for f in frames[onset : offset + 1]]
    return onset + int(np.argmax([np.abs(f - seen[0]).mean() for f in seen]))


def drawn(frames, onset, offset):
    return int(np.random.default_rng(3).integers(onset, offset))


APEX = [
    ("trivial", "nothing", lambda f, a, b: None, "got None"),
    ("trivial", "the onset", at(0), "which frame is farthest|fastest"),
    ("trivial", "the offset", at(1), "which frame is farthest"),
    ("trivial", "the middle", at(0.5), "which frame is farthest|fastest"),
    ("trivial", "at random", drawn, "apex is"),
    ("trivial", "the middle of the frames", lambda f, a, b: len(f) // 2, "counts from the onset|apex is"),
    ("trivial", "last frame", lambda f, a, b: len(f) - 1, "the head turns after the offset"),
    ("trivial", "an image", lambda f, a, b: f[(a + b) // 2], "must return one number"),
    ("shortcut", "a third of the way", at(1 / 3), "apex is"),
    ("shortcut", "two fifths", at(0.4), "apex is"),
    ("shortcut", "golden ratio", at(0.618), "apex is"),
    ("shortcut", "three fifths", at(0.6), "apex is"),
    ("shortcut", "a normalised helper of the lab", by_the_lab, "write the steps yourself"),
    ("shortcut", "frame 60", lambda f, a, b: min(60, b), "apex is"),
    ("typical", "counted from the onset", spot(start=0), "counts from the onset"),
    ("typical", "light not removed", spot(lambda f: f.astype(float)), "wrong where it flickers"),
    ("typical", "light not removed, grey", spot(lambda f: f.astype(float).mean(-1)), "wrong where it flickers"),
    ("typical", "bytes wrapped", spot(lambda f: f, lambda a, b: np.abs(a - b).mean()), "apex is"),
    ("typical", "the brightest", spot(lambda f: f.astype(float), lambda a, b: a.mean()), "apex is"),
    ("typical", "moves fastest", by_speed, "moves fastest"),
    ("typical", "fastest, without light", by_speed_of_grey, "moves fastest"),
    ("typical", "all frames", spot(whole=True), "the head turns after the offset|lies before"),
    ("typical", "nearest instead of farthest", spot(between=lambda a, b: -np.abs(a - b).mean()), "apex is"),
    ("typical", "first wiggle of the curve", first_peak, "apex is"),
    ("typical", "signed mean", spot(between=lambda a, b: (a - b).mean()), "apex is"),
    ("typical", "the value, not its place", lambda f, a, b: float(distances(f[a:b], 0, grey).max()), "a whole number"),
    ("typical", "counted from 1", lambda f, a, b: spot()(f, a, b) + 10, "apex is"),
    ("right", "divided by the mean", spot()),
    ("right", "standardised", spot(standard)),
    ("right", "squared distance", spot(standard, lambda a, b: ((a - b) ** 2).mean())),
    ("right", "correlation", spot(standard, lambda a, b: 1 - (a * b).mean())),
    ("right", "blurred first", spot(lambda f: gaussian_filter(grey(f), 1))),
    ("right", "edges", spot(lambda f: np.hypot(sobel(grey(f), 0), sobel(grey(f), 1)))),
    ("right", "colour by colour", spot(lambda f: f / f.mean((0, 1)))),
    ("right", "SSIM", spot(grey, lambda a, b: 1 - structural_similarity(a, b, data_range=2.0))),
    ("right", "longest flow", by_flow),
    ("right", "a loop", by_loop),
    ("right", "smoothed curve", smooth_curve),
    ("right", "torch", lambda f, a, b: torch.tensor(distances(f[a : b + 1], 0, grey)).argmax() + a),
]


def mean_inside(of):
    return lambda flow, truth, region: float(of(flow, truth)[region].mean())


def pixel_loop(flow, truth, region):
    total, count = 0.0, 0
    for y in range(region.shape[0]):
        for x in range(region.shape[1]):
            if region[y, x]:
                total += ((flow[0, y, x] - truth[0, y, x]) ** 2 + (flow[1, y, x] - truth[1, y, x]) ** 2) ** 0.5
                count += 1
    return total / count


def in_place_error(flow, truth, region):
    flow -= truth
    flow **= 2
    return np.sqrt(flow.sum(0))[region].mean()


def by_torch(flow, truth, region):
    d = torch.tensor(flow) - torch.tensor(truth)
    return d.norm(dim=0)[torch.tensor(region)].mean()


def masked(flow, truth, region):
    return np.ma.masked_array(np.linalg.norm(flow - truth, axis=0), ~region).mean()


def zeroed(flow, truth, region):
    return float((np.hypot(*(flow - truth)) * region).mean())


ERROR = [
    ("trivial", "nothing", lambda f, t, r: None, "got None"),
    ("trivial", "zero", lambda f, t, r: 0.0, "is wrong"),
    ("trivial", "one", lambda f, t, r: 1.0, "is wrong"),
    ("trivial", "length of the flow", lambda f, t, r: np.hypot(*f)[r].mean(), "is wrong"),
    ("trivial", "length of the truth", lambda f, t, r: np.hypot(*t)[r].mean(), "is wrong"),
    ("trivial", "a map", lambda f, t, r: np.hypot(*(f - t)), "must return one number"),
    ("shortcut", "the lab's own", lambda f, t, r: float(endpoint_error(f, t)[r].mean()), "write the steps yourself"),
    ("shortcut", "dx alone", mean_inside(lambda f, t: abs(f - t)[0]), "is wrong"),
    ("shortcut", "the first pixel", lambda f, t, r: np.hypot(*(f - t)[:, r][:, 0]), "is wrong"),
    ("shortcut", "the median", lambda f, t, r: np.median(np.hypot(*(f - t))[r]), "is wrong"),
    ("typical", "whole picture", lambda f, t, r: np.hypot(*(f - t)).mean(), "over the whole picture"),
    ("typical", "outside as zero", zeroed, "must count nothing"),
    ("typical", "outside instead", lambda f, t, r: np.hypot(*(f - t))[~r].mean(), "is wrong"),
    ("typical", "lengths", mean_inside(lambda f, t: abs(np.hypot(*f) - np.hypot(*t))), "lengths were compared"),
    ("typical", "squared", mean_inside(lambda f, t: ((f - t) ** 2).sum(0)), "squared error"),
    ("typical", "root of the mean", lambda f, t, r: ((f - t) ** 2).sum(0)[r].mean() ** 0.5, "root was taken after"),
    ("typical", "city blocks", mean_inside(lambda f, t: abs(f - t).sum(0)), r"\|dx\| \+ \|dy\| is no distance"),
    ("typical", "both components alike", lambda f, t, r: abs(f - t)[:, r].mean(), "mean over both components"),
    ("typical", "mean first", lambda f, t, r: np.hypot(*(f - t)[:, r].mean(1)), "to the left and to the right cancel"),
    ("typical", "a sum", lambda f, t, r: np.hypot(*(f - t))[r].sum(), "divide by its number of pixels"),
    ("typical", "the largest", lambda f, t, r: np.hypot(*(f - t))[r].max(), "is wrong"),
    ("typical", "relative", lambda f, t, r: (np.hypot(*(f - t)) / np.hypot(*t))[r].mean(), "is wrong"),
    ("typical", "angle", mean_inside(lambda f, t: abs(np.arctan2(*f) - np.arctan2(*t))), "is wrong"),
    ("typical", "one norm of all", lambda f, t, r: np.linalg.norm((f - t)[:, r]), "is wrong"),
    ("typical", "flow + truth", mean_inside(lambda f, t: np.hypot(*(f + t))), "is wrong"),
    ("typical", "rows of the region", lambda f, t, r: np.hypot(*(f - t))[r.any(1)].mean(), "whole picture"),
    ("right", "norm over the first axis", lambda f, t, r: np.linalg.norm(f - t, axis=0)[r].mean()),
    ("right", "complex numbers", lambda f, t, r: abs((f - t)[0] + 1j * (f - t)[1])[r].mean()),
    ("right", "a loop over pixels", pixel_loop),
    ("right", "in place", in_place_error),
    ("right", "torch", by_torch),
    ("right", "a masked array", masked),
    ("right", "region first", lambda f, t, r: np.sqrt(((f[:, r] - t[:, r]) ** 2).sum(0)).mean()),
    (
        "right",
        "nonzero",
        lambda f, t, r: np.mean([np.hypot(*(f - t)[:, y, x]) for y, x in zip(*r.nonzero(), strict=True)]),
    ),
    ("right", "32 bit", lambda f, t, r: np.hypot(*(f - t).astype(np.float32))[r].mean()),
    ("right", "nanmean over zeros outside", lambda f, t, r: np.nanmean(np.where(r, np.hypot(*(f - t)), np.nan))),
    ("right", "an array of one", lambda f, t, r: np.array([np.hypot(*(f - t))[r].mean()])),
]


def own_flow(seed, which="best", error=lambda inside, whole: inside, change=lambda name: name, of=None):
    """An answer for the student of this seed."""
    inside, whole = checks("ps1")._flow_errors(seed)
    order = sorted(inside, key=inside.get)
    name = {"best": order[0], "second": order[1], "worst": order[-1]}[which]
    other = of or name
    return {"best_method": change(name), "best_error": error(inside[other], whole[other]), "own_seed": seed}


def flow(kind, what, message="", seed=4, **settings):
    return (kind, what, own_flow(seed, **settings), *([message] if message else []))


FLOW = [
    flow("trivial", "nothing", "best_error must be a number, got None", error=lambda i, w: None),
    flow("trivial", "no name", "best_method is one of", change=lambda n: None),
    flow("trivial", "an index", "best_method is one of", change=lambda n: 0),
    flow("trivial", "another name", "best_method is one of", change=lambda n: "raft"),
    flow("trivial", "zero", "is wrong", error=lambda i, w: 0.0),
    flow("trivial", "one pixel", "is wrong", error=lambda i, w: 1.0),
    flow("trivial", "text", "must be a number, got str", error=lambda i, w: f"{i:.2f} px"),
    flow("trivial", "NaN", "holds NaN", error=lambda i, w: np.nan),
    flow("shortcut", "the worst", "another flow is better", which="worst"),
    flow("shortcut", "the second", "another flow is better", which="second"),
    flow("shortcut", "the worst, of another student", "another flow is better", which="worst", seed=5),
    flow("shortcut", "a neighbour's number", "is wrong", error=lambda i, w: own_flow(5)["best_error"]),
    flow(
        "shortcut",
        "the best name, the worst's error",
        "is wrong",
        of="tvl1" if own_flow(4)["best_method"] != "tvl1" else "dis",
    ),
    flow("typical", "whole picture", "over the whole picture", error=lambda i, w: w),
    flow("typical", "twice", "is wrong", error=lambda i, w: 2 * i),
    flow("typical", "squared", "is wrong", error=lambda i, w: i * i),
    flow("typical", "in per cent", "is wrong", error=lambda i, w: 100 * i),
    flow("typical", "negative", "is wrong", error=lambda i, w: -i),
    flow("typical", "all errors", "must be one number", error=lambda i, w: [i, w]),
    flow("typical", "a table", "best_error must be a number", error=lambda i, w: {"dis": i}),
    flow("right", "a float"),
    flow("right", "of another student", seed=5),
    flow("right", "numpy's float", error=lambda i, w: np.float32(i)),
    flow("right", "a tensor", error=lambda i, w: torch.tensor(i)),
    flow("right", "rounded", error=lambda i, w: round(i, 3)),
]
assert len(FLOWS) == 3
ENTRIES = [
    (question, *row)
    for question, rows in (
        ("align", ALIGN),
        ("difference", DIFFERENCE),
        ("apex", APEX),
        ("error", ERROR),
        ("flow", FLOW),
    )
    for row in rows
]
