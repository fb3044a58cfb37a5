"""How the models that ship came about: nobody is on two sides, nothing is nothing, cards say what was measured."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from studies import ship_films
from studies.film import pauses
from studies.floors import FLOORS
from studies.ship import Ship, beside, calibrate, calibration_errors, least_certain, parts_of, score
from studies.ship_card import _version, film_table, page_words, with_words, write_card
from studies.ship_data import NOTHING, Part, _filmed, as_samples, draw_part, open_part
from studies.ship_maps import MAPS, measure_maps
from tsfmicro_lab.data import Distractors, Samples
from tsfmicro_lab.models import SHIPPED, checkpoint_folder, create_model, from_pretrained


def test_nobody_is_in_two_sets():
    portrait = np.zeros((8, 8, 3), np.uint8), np.zeros((478, 2), np.float32)
    sets = parts_of("large", {"A": portrait, "B": portrait})
    heads = {name: [part.seed for part in parts if not part.portrait] for name, parts in sets.items()}
    heads["poses"] = [seed for name in sets if "pose" in name for seed in heads.pop(name)]  # the same people, turned
    every = [seed for seeds in heads.values() for seed in set(seeds)]
    assert len(every) == len(set(every))
    assert not heads["A"] + heads["B"]
    assert not [part for name in ("train", "validation") for part in sets[name] if part.portrait]


def test_an_unknown_size_is_one_sentence():
    with pytest.raises(ValueError, match="unknown size 'huge': choose from large, medium, small, tiny"):
        parts_of("huge", {})


@pytest.mark.parametrize("kind", ["rest", "speech", "turn", "still"])
def test_nothing_is_shown_where_nothing_is_to_be_shown(kind):
    part = Part("x", 80_000, 1, randomised=False)
    moving = open_part(part).moving_face(0)
    assert np.abs(moving.expression).max() > 0.2
    nothing = _filmed(moving, kind, part, np.random.default_rng(0))
    assert np.abs(nothing.expression).max() < 1e-3
    assert not nothing.motion.units


def test_to_train_on_a_clip_without_an_expression_has_every_label_once():
    drawn = draw_part(Part("x", 80_001, 4, nothing=0.6))
    table = pd.DataFrame({c.removeprefix("table_"): drawn[c] for c in drawn if c.startswith("table_")})
    drawn = drawn | {"table": table}
    plain, train = (as_samples(drawn, "emotion", 28, to_train=t) for t in (False, True))
    nothing = int((table.kind != "expression").sum())
    assert 0 < nothing < len(table) == 16
    assert set(table.kind) <= {"expression", *NOTHING}
    assert len(train) == len(table) + 4 * nothing
    rows = (train.table.kind != "expression").to_numpy(copy=True)
    assert np.bincount(train.label[rows], minlength=5).tolist() == [nothing] * 5
    assert (train.label[~rows].numpy() == plain.label[(table.kind == "expression").to_numpy(copy=True)].numpy()).all()
    units = as_samples(drawn, "action_units", 28, to_train=True)
    assert not units.label[(table.kind != "expression").to_numpy(copy=True)].any()
    assert units.label[(table.kind == "expression").to_numpy(copy=True)].any(1).all()


def test_strengths_differ_between_parts():
    strengths = {open_part(Part("x", seed, 1)).distractors for seed in range(4)}
    assert len(strengths) == 4
    assert open_part(Part("x", 1, 1, randomised=False)).distractors == Distractors()


@pytest.fixture
def guessed():
    """A network, and clips whose labels are drawn with the probabilities of its logits, doubled."""
    model = create_model("off_apexnet", 5, seed=0, flow="dis", classes=tuple("abcde"))
    with torch.no_grad():
        model.head[-1].weight *= 60
    rng = torch.Generator().manual_seed(0)
    flow = torch.randn(1500, 2, 28, 28, generator=rng)
    table = pd.DataFrame({"subject": np.arange(1500) % 30, "clip": "x", "kind": "expression", "melanin": 0.5})
    table = table.assign(subject=table.subject.astype(str), amplitude=1.0)
    samples = Samples({"flow_dis": flow}, torch.zeros(1500, dtype=torch.long), tuple("abcde"), table)
    p = (2 * model.logits(samples)).softmax(1)
    return model, Samples(samples.tensors, p.multinomial(1, generator=rng)[:, 0], samples.classes, table)


def test_the_temperature_that_labels_were_drawn_with_is_found(guessed):
    model, samples = guessed
    before, (after, told) = model.logits(samples), calibrate(model, samples, 0.75)
    assert after.config.temperature == pytest.approx(0.5, rel=0.15)
    assert torch.allclose(after.logits(samples), before / after.config.temperature, atol=1e-2)
    assert torch.equal(model.logits(samples), before), "the network itself is not changed"
    assert calibration_errors(after.logits(samples), samples.label)[1] < calibration_errors(before, samples.label)[1]
    row = told[told.kind == "all"].iloc[0]
    assert row.right >= 0.74
    assert row.told > 0.05
    assert least_certain(after, samples, 0.75) == after.config.certain


def test_a_score_lies_in_its_interval_and_absent_classes_are_left_out(guessed):
    rows = [("s1", "a", "a"), ("s1", "b", "a"), ("s2", "a", "a"), ("s3", "b", "b"), ("s4", "b", "b")]
    table = pd.DataFrame(rows, columns=["subject", "truth", "predicted"]).assign(kind="expression")
    found = score(pd.concat([table, table.assign(kind="rest", predicted="c")]), ["a", "b", "c"])
    assert found["uf1"] == pytest.approx((0.8 + 0.8) / 2)
    assert found["low"] < found["uf1"] <= found["high"]
    assert (found["clips"], found["people"], found["uar"]) == (5, 4, pytest.approx((1 + 2 / 3) / 2))


def test_films_are_measured_once_and_people_who_talk_pause(tmp_path, monkeypatch):
    share = pauses(2000, np.random.default_rng(0))
    assert (share.min(), share.max()) == (0, pytest.approx(1))
    assert 0.25 < share.mean() < 0.75
    asked = []

    def rows(models, kind, seed, seconds):
        asked.append(seed)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return [{"target": "emotions", "kind": kind, "film": seed, "alarms": 1}]

    monkeypatch.setattr(ship_films, "_film_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        ship_films.measure_films({}, 1, 6, tmp_path)
    found = ship_films.measure_films({}, 1, 6, tmp_path)
    assert found.kind.tolist() == [*ship_films.KINDS]
    assert len(asked) == len(found) + 1, "one film was broken off and is done again"
    assert found.film.is_unique


@pytest.fixture(scope="module")
def found():
    return Ship.load(ROOT / "notebooks" / "results" / "ship.json")


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_say_what_was_measured(found, name, tmp_path):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((checkpoint_folder(name) / file).read_bytes())
    write_card(found, name, tmp_path)
    one, other = ((place / "README.md").read_text("utf-8") for place in (tmp_path, checkpoint_folder(name)))
    assert one == other, f"the card of {name} is not that of results/ship.json: run studies/ship.py cards"
    made = found.provenance.get(name, found.provenance)
    assert f"{made['people']['train']} synthetic 3-D heads, no photograph" in one
    assert f"of TSFmicro Lab {_version(made)}, " in one, "the version that trained it"
    if name != "where_how":
        films = found.provenance["films"]
        assert f"Measured with TSFmicro Lab {_version(films)} ({films['date']}, commit {films['commit'][:7]})" in one


def test_the_page_of_results_says_what_was_measured(found):
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    assert with_words(page, found) == page, "run studies/ship.py cards"
    words = " ".join(page_words(found).split())
    assert words in " ".join(page.split())
    for fact in ("on no photograph", "0.72, below linear_flow (0.85) and mdmo (0.83)", "(0.064 to 0.099)"):
        assert fact in words, fact


def test_a_model_above_the_linear_ones_is_called_so_and_a_good_temperature_is_not_blamed(found):
    scores, calibrated = found.scores.copy(), found.calibrated.copy()
    scores.loc[(scores.target == "where_how") & (scores.what == "model"), "uf1"] = 0.7
    calibrated["ece"] = 0.0
    words = " ".join(page_words(replace(found, scores=scores, calibrated=calibrated)).split())
    assert re.search(r"0\.70, below linear_flow \(0\.\d\d\) and mdmo \(0\.\d\d\) on new heads", words)
    scores.loc[(scores.target == "where_how") & (scores.what == "model"), ["uf1", "low"]] = 0.9, 0.84
    unsure = page_words(replace(found, scores=scores)).replace("\n", " ")
    assert "0.90, not to be told from linear_flow (0.85)" in unsure
    scores.loc[(scores.target == "where_how") & (scores.what == "model"), "low"] = 0.87
    assert "0.90, above all floors on new heads" in page_words(replace(found, scores=scores)).replace("\n", " ")
    assert "makes the calibration error larger** nowhere" in words


def test_maps_stand_beside_a_network_that_learned_nothing_and_beside_the_difference_itself(found):
    assert not found.provenance["maps"]["commit"].endswith("changes")
    rows = found.maps.query("faces == 'new heads'").set_index("maps")
    assert [*rows.index] == [*MAPS]
    assert rows.people.tolist() == [24] * 3
    assert rows.low["model"] > max(rows.high["untrained"], rows.high["input"], rows.chance["model"])


def test_maps_are_scored_for_each_person_and_the_trained_network_is_ahead():
    heads = parts_of("small", {})["new heads"][:1]
    rows = measure_maps(from_pretrained("where_how"), {"new heads": heads}, 1).set_index("maps")
    assert rows[["clips", "people"]].to_numpy().tolist() == [[4, 4]] * 3
    assert rows.moved["model"] > 1.5 * max(rows.moved["untrained"], rows.moved["input"], rows.chance["model"])
    assert (rows.low < rows.moved).all()
    assert (rows.moved < rows.high).all()


def test_films_are_many_and_the_models_were_asked(found):
    assert set(found.films.kind) == {*ship_films.KINDS}
    assert not found.provenance["films"]["commit"].endswith("changes")
    table = film_table(found.films[found.films.target == "emotions"])
    assert (table.films >= 8).all()
    assert (table.seconds > 45).all()
    silent = table[table.kind != "expressions"]
    assert (silent.told == silent.alarms).all()
    assert silent[silent.strictness == 2].spotted.sum() > 0, "they could have raised a false alarm"
    assert (table.told <= table.spotted).all()


def test_the_models_stand_beside_floors_and_a_ceiling(found):
    assert found.scores.groupby("target").what.apply(set).tolist() == [{"model", *FLOORS} - {"lbp_top"}] * 3


def test_one_model_is_put_beside_the_others(found):
    own = {name: getattr(found, name) for name in Ship.tables()}
    alone = {name: table[table.target == "where_how"] for name, table in own.items()}
    alone["scores"] = alone["scores"].assign(uf1=0.123)
    joined = beside(found, Ship({"commit": "new"}, **alone))
    scores = joined.scores.set_index("target")
    assert (scores.uf1["where_how"] == 0.123).all()
    assert scores.uf1["emotions"].tolist() == found.scores.set_index("target").uf1["emotions"].tolist()
    assert len(scores) == len(found.scores)
    assert len(joined.films) == len(found.films), "films are of the other models"
    assert joined.provenance["where_how"] == {"commit": "new"}
    assert joined.provenance["commit"] == found.provenance["commit"]
