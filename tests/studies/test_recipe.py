from dataclasses import replace

import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from studies import recipe, said
from studies.new_subjects import SETTINGS, seed_of
from studies.recipe import AS_IT_IS, CHANGES, OTHERS, Recipes, app
from tsfmicro_lab.training import RECIPES

STORED = ROOT / "notebooks" / "results" / "recipe.json"


def test_the_command_trains_tests_and_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "MODELS", recipe.MODELS[:1])
    monkeypatch.setattr(recipe, "CHANGES", {AS_IT_IS: {"epochs": 1}, "longer": {"epochs": 2}})
    args = ["--out", str(tmp_path), "--subjects", "2", "--clips", "10", "--seeds", "1", "--workers", "1"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    found = Recipes.load(tmp_path / "recipe.json")
    assert list(found.scores.recipe) == [AS_IT_IS, "longer"]
    assert found.scores.loss.nunique() == 2, "another recipe trains otherwise"
    assert found.provenance["protocol"] == (
        f"trained on 20 clips, tested on 2 × as many of new heads; seeds from {OTHERS}, last epoch"
    )
    monkeypatch.setattr(recipe, "fit", None)
    assert CliRunner().invoke(app, args).exit_code == 0
    assert Recipes.load(tmp_path / "recipe.json").scores.equals(found.scores)


def test_a_gain_is_paired_by_seeds_and_corrected_for_all():
    scores = {AS_IT_IS: (0.5, 0.6, 0.7), "longer": (0.6, 0.72, 0.81), "faster": (0.4, 0.7, 0.5)}
    rows = [("m", name, seed, uf1) for name, values in scores.items() for seed, uf1 in enumerate(values)]
    found = Recipes({}, pd.DataFrame(rows, columns=["model", "recipe", "seed", "uf1"])).gains().set_index("recipe")
    assert found.gain.dropna().to_dict() == pytest.approx({"longer": 0.11, "faster": -1 / 15})
    p = {name: ttest_rel(scores[name], scores[AS_IT_IS]).pvalue for name in ("longer", "faster")}
    assert found.p_holm.dropna().to_dict() == pytest.approx({"longer": 2 * p["longer"], "faster": p["faster"]})
    assert found.low["longer"] > 0 > found.low["faster"]
    assert found.higher.to_dict() == {AS_IT_IS: 0, "longer": 3, "faster": 1}


def test_the_paragraph_follows_the_numbers():
    def of(longer, spread):
        noise = {AS_IT_IS: 0.0, "longer": spread}
        rows = [
            (model, name, seed, 0.8 + (longer if name == "longer" else 0) + noise[name] * (-1) ** seed * (seed + 1))
            for model in ("tsfmicro_temporal", "tsfmicro_late")
            for name in noise
            for seed in range(4)
        ]
        return said.recipes(Recipes({}, pd.DataFrame(rows, columns=["model", "recipe", "seed", "uf1"])))

    assert "Better: the temporal branch with longer and late fusion with longer." in of(0.1, 0.001)
    assert "reach the goal of 0.88 with longer; with the recipe as it is they have 0.800 and 0.800" in of(0.1, 0.001)
    assert "worse than the recipe: the temporal branch with longer and late fusion with longer." in of(-0.1, 0.001)
    assert "these two have not learned all they can**; more was reached with longer." in of(0.1, 0.001)
    unsure = of(0.05, 0.05)
    assert "worse than the recipe: none. Better: none." in unsure
    assert "Higher on average with both models are longer, by at most 0." in unsure
    assert "goal of 0.88 with none" in unsure
    assert unsure.endswith("So nothing better is known.")


def test_nobody_of_another_study_is_trained_on_or_tested():
    groups = {group for setting in SETTINGS.values() for group in setting.groups()}
    elsewhere = {seed_of(seed, group) for seed in range(10) for group in groups}
    own = {seed_of(seed + OTHERS, group) for seed in range(10) for group in SETTINGS["clean"].groups()}
    assert not own & elsewhere
    assert min(own) > 2000, "below are the heads of films and other studies"


def test_the_stored_recipe_is_that_of_the_preset():
    found = Recipes.load(STORED)
    now = RECIPES["tiny"]
    assert found.provenance["recipe"] == now.__dict__
    assert set(found.scores.recipe) == {*CHANGES}
    assert found.scores.groupby(["model", "recipe"]).seed.nunique().min() >= 10
    assert all(replace(now, **change) != now for name, change in CHANGES.items() if name != AS_IT_IS)
