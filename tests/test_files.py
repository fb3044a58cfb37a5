import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tsfmicro_lab.files import MAX_NAME, safe_name, write_whole


@given(st.text())
@example("")
@example(".")
@example("..")
@example("../esc")
@example("C:\\esc")
@example("\0")
@example("\ud800")
@example("x" * 300)
def test_a_safe_name_is_one_component_of_a_path(text):
    name = safe_name(text)
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~")
    assert 0 < len(name) <= MAX_NAME
    assert not name.startswith(".")


@given(st.lists(st.text("ab./_ ~é", max_size=5), max_size=20, unique=True))
def test_different_names_stay_different(texts):
    assert len({safe_name(text) for text in texts}) == len(texts)
    assert len({safe_name("x" * 200 + text) for text in texts}) == len(texts)


@pytest.mark.parametrize("name", ["sub01", "006_1_2", "EP02_01f", "s.1-a"])
def test_safe_names_stay(name):
    assert safe_name(name) == name


def test_even_a_name_that_looks_like_ours_has_its_own_file():
    assert len({safe_name("a/b"), safe_name(safe_name("a/b")), safe_name("a_b")}) == 3


def test_a_write_that_fails_leaves_the_file_before(tmp_path):
    write_whole(tmp_path / "a" / "b.txt", lambda path: path.write_text("before"))

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a" / "b.txt", fail)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text() == "before"
