"""A step of the onset–apex explorer in the kernel, two ways in one run: CPU time with `make bench`, else once.

Tests check shapes at run time, which adds to both ways alike (about 10 ms).
"""

import time

import cv2
import numpy as np
import pytest
import torch

from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.preprocess import align_clip, optical_flow
from tsfmicro_lab.preprocess.flow import resize_flow
from tsfmicro_lab.widgets import OnsetApexExplorer, onset_apex

#: Side of the frames that flow is computed of, pixels.
WAYS = {"all of 224 px": 224, "ours": onset_apex.FLOW_FROM}


@pytest.fixture(autouse=True)
def _one_thread():
    """CPU time of threads that wait for one another says nothing."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(scope="module")
def faces():
    return SyntheticMicroExpressions(2, 3, image_size=224, seed=5)


@pytest.mark.benchmark(group="a step with flow and prediction, 224 px", timer=time.process_time)
@pytest.mark.parametrize("way", WAYS)
def test_step(benchmark, monkeypatch, faces, way):
    monkeypatch.setattr(onset_apex, "FLOW_FROM", WAYS[way])
    explorer = OnsetApexExplorer(faces[0], size=224)
    apexes = [explorer.apex - n for n in range(5)]
    turns = iter(range(10**6))

    def step():
        explorer.apex = apexes[next(turns) % 5]

    step()
    benchmark(step)
    assert explorer.viewer.flow["pair"] == [explorer.onset, explorer.apex]
    assert explorer.motion.shape == (2, 224, 224)


def test_flow_of_smaller_frames_is_as_near_to_the_truth(faces):
    """Mean end-point error where the face moves, pixels of 224; of frames half as large it is worse."""
    errors = {side: [] for side in (224, onset_apex.FLOW_FROM, 112)}
    for clip in map(faces.__getitem__, range(len(faces))):
        truth = align_clip(clip, 224).truth
        for side, found in errors.items():
            small = align_clip(clip, side)
            flow = resize_flow(optical_flow(*map(small.frame, small.key_frames)), 224)
            found.append(np.hypot(*(flow - truth.field))[truth.moved].mean())
    means = {side: float(np.mean(found)) for side, found in errors.items()}
    print(means)
    assert means[onset_apex.FLOW_FROM] < 1.02 * means[224] < means[112]
