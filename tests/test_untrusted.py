"""Files from elsewhere that hold something else than they should: one sentence each, whatever reads them."""

import json
import random

import pytest
from typer.testing import CliRunner

from tsfmicro_lab.cli import app
from tsfmicro_lab.data import open_store
from tsfmicro_lab.data import samples as stores
from tsfmicro_lab.data.cards import parse_card
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.results import read_results
from tsfmicro_lab.training import Recipe, Run, cross_validate

DEEP = ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000]
WRONG = [[], {}, None, "x", "", -1, 10**30, 1e308, float("nan"), True, [[1]], {"a": []}, "x" * 5000, ["x"] * 3]


def altered(value, depth=3):
    """A value, and what lies in it, by something else, one at a time."""
    yield from WRONG
    keys = range(len(value))[:2] if isinstance(value, list) else value if isinstance(value, dict) else ()
    for key in keys if depth else ():
        for other in altered(value[key], depth - 1):
            copy = json.loads(json.dumps(value))
            copy[key] = other
            yield copy


def sentences(path, read, write=json.dumps):
    """What reading says of some alterations, where it does not take them."""
    whole = path.read_text()
    some = random.Random(0).sample(list(altered(json.loads(whole))), 40)
    for text in [*DEEP, "", "\0", *map(write, some)]:
        path.write_text(text)
        try:
            read()
        except (ValueError, OSError) as error:
            yield str(error).removesuffix("\n")
    path.write_text(whole)
    read()


def one_line(told, path, least):
    assert len(told) >= least, "hardly anything is refused"
    assert all("\n" not in text for text in told)
    assert sum(str(path) in text for text in told) > 0.9 * len(told), "the file is named"


def test_a_model(tmp_path):
    create_model("tsfmicro_spatial", 3, "tiny").save_pretrained(tmp_path)
    told = list(sentences(tmp_path / "config.json", lambda: from_pretrained(tmp_path)))
    one_line(told, tmp_path, 20)
    (tmp_path / "config.json").write_text(DEEP[0])
    result = CliRunner().invoke(app, ["analyze", "film.mp4", "--model", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "holds no model of this lab" in result.output


def test_a_run(samples, tmp_path):
    cross_validate(samples, Run("tsfmicro_spatial", recipe=Recipe(epochs=1)), folder=tmp_path, progress=False)
    told = list(sentences(tmp_path / "run.json", lambda: read_results(tmp_path)[0].leaky))
    one_line(told, tmp_path, 10)
    (tmp_path / "run.json").write_text(json.dumps(json.loads((tmp_path / "run.json").read_text()) | {"run": [1]}))
    for command in (["score", str(tmp_path)], ["verify", str(tmp_path)], ["results", str(tmp_path)]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert "holds no run of `cross_validate`" in result.output


def test_a_store_whose_hash_was_made_to_fit(data, tmp_path):
    place = stores.prepare(data, 32, folder=tmp_path, progress=False).folder

    def signed(value):
        if isinstance(value, dict):
            value = {name: x for name, x in value.items() if name != "hash"}
            value["hash"] = stores._hash(value)
        return json.dumps(value)

    told = list(sentences(place / "manifest.json", lambda: open_store(place), signed))
    one_line(told, place, 20)
    with (place / "done.jsonl").open("a") as notes:  # what is no note is made again
        notes.write("\n".join([*DEEP, "[]", '{"row": []}', '{"row": 1e30, "tensors": ""}']) + "\n")
    stores.prepare(data, 32, folder=tmp_path, progress=False)


LAYERS = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9 if i else ['x'])}]" for i in range(12))


@pytest.mark.parametrize("front", ["- a\n- b", "[" * 5000 + "]" * 5000, "{a: " * 5000 + "1" + "}" * 5000, LAYERS])
def test_a_card(front):
    with pytest.raises(ValueError, match=r"^the front matter of mine\.md ") as told:
        parse_card(f"---\n{front}\n---\nprose", "mine.md")
    assert len(str(told.value)) < 500
