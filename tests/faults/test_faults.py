"""Each fault once; `make faults` tries them many times."""

import shutil

import pytest
from injection import FAULTS, WORKS, attempts


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_finished_survives(work, fault):
    if fault == "no room on the disk" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap, which makes a small disk, is not installed")
    assert attempts(work, fault, times=1) == [""]
