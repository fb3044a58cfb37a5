"""A stored result says what its clips show, and whoever reads its numbers is told."""

import json

from conftest import ROOT

from studies.stored import FACES

RESULTS = ROOT / "notebooks" / "results"


def test_results_of_earlier_faces_are_told_as_such():
    stored = {path.stem: json.loads(path.read_text())["provenance"] for path in RESULTS.glob("*.json")}
    faces = {name: entry.get("faces", "not told") for name, entry in stored.items() if "recipe" in entry}
    assert faces.keys() >= {"comparison", "key_frames", "leakage", "trust"}
    earlier = {name for name, kind in faces.items() if kind != FACES}
    heads_alone = "**On which faces.** All on 3-D heads, whose" in (ROOT / "docs" / "results.md").read_text()
    assert heads_alone != bool(earlier), f"docs/results.md must tell of earlier faces while there are any: {earlier}"
