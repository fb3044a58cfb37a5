"""Data cards: one Markdown file per data set, whose YAML front matter is what the loaders know about it.

What the front matter may hold, and what each field means, is told by `schema.yaml` beside the cards.
"""

import re
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import yaml

from tsfmicro_lab.files import bundled

#: Fields that a table must give and that it may give.
REQUIRED, OPTIONAL = ("subject", "clip", "onset", "offset"), ("apex", "emotion", "action_units", "fps")
#: An object of the schema: its fields are attributes, those that a card leaves out by their default.
Card: TypeAlias = Any


def list_cards() -> list[str]:
    """Names of all data cards."""
    return sorted(path.stem for path in bundled("data_cards").glob("*.md"))


@cache
def read_card(name: str) -> Card:
    """Reads a data card by its name, which :func:`list_cards` gives; a ValueError says that there is none."""
    if name not in list_cards():
        raise ValueError(f"no data card '{name}': choose from {', '.join(list_cards())}")
    return parse_card((bundled("data_cards") / f"{name}.md").read_text(encoding="utf-8"), f"{name}.md")


def parse_card(text: str, source: str = "card") -> Card:
    """Checks the text of a card, YAML between two lines `---` and then Markdown; a ValueError names every fault."""
    import jsonschema

    match = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    if not match:
        raise ValueError(f"{source} has no front matter: begin it with a line ---, then YAML, then a line ---")
    try:
        if sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(match[1])) > 30:
            raise yaml.YAMLError("more than 30 aliases (*) can stand for more than fits a memory: write them out")
        front = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"the front matter of {source} is no YAML: {error}") from error
    schema = yaml.safe_load((bundled("data_cards") / "schema.yaml").read_text(encoding="utf-8"))
    found = jsonschema.Draft202012Validator(schema).iter_errors(front)
    wrong = [f"{'.'.join(map(str, e.path)) or 'card'}: {e.schema.get('wrong', e.message)}" for e in found]
    if not wrong:
        card = _filled(front, schema, schema["$defs"])
        for name, mapping in {"spelling": dict.fromkeys(card.spelling.values(), ""), **card.maps}.items():
            if unknown := sorted(set(mapping) - set(card.classes)):
                wrong.append(f"{name} speaks of {', '.join(unknown)}, which classes does not have")
        for name, labels in card.labels.items():
            if labels.files and (missing := [field for field in REQUIRED if field not in labels.columns]):
                wrong.append(f"labels.{name}: columns must name {', '.join(missing)}")
    if wrong:
        raise ValueError(f"the front matter of {source} does not fit the schema:\n  " + "\n  ".join(wrong))
    card.prose = match[2].strip()
    return card


def _filled(value: Any, schema: dict[str, Any], kinds: dict[str, Any]) -> Any:
    """A value as the schema describes it: an object with an attribute a property, a dict, a list, or a plain value."""
    if "oneOf" in schema and "type" not in schema:  # nothing, or what is described
        return value and _filled(value, schema["oneOf"][1], kinds)
    schema = kinds.get(schema.get("$ref", "").removeprefix("#/$defs/"), schema)
    value = schema.get("default") if value is None else value
    if properties := schema.get("properties"):
        return SimpleNamespace(**{name: _filled(value.get(name), part, kinds) for name, part in properties.items()})
    if isinstance(value, dict):
        return {key: _filled(item, schema["additionalProperties"], kinds) for key, item in value.items()}
    return [_filled(item, schema["items"], kinds) for item in value] if isinstance(value, list) else value
