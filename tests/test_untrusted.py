"""Files from elsewhere that hold something else than they should: one sentence each, whatever reads them."""

import pytest

from tsfmicro_lab.data.cards import parse_card

LAYERS = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9 if i else ['x'])}]" for i in range(12))


@pytest.mark.parametrize("front", ["- a\n- b", "[" * 5000 + "]" * 5000, "{a: " * 5000 + "1" + "}" * 5000, LAYERS])
def test_a_card(front):
    with pytest.raises(ValueError, match=r"^the front matter of mine\.md ") as told:
        parse_card(f"---\n{front}\n---\nprose", "mine.md")
    assert len(str(told.value)) < 500
