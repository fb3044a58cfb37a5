import ast
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tsfmicro_lab
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


@pytest.mark.parametrize("name", ["CON", "con", "nul.txt", "COM1", "Lpt9.tar.gz", "a:b", "sub 1.", "a\\b", "x" * 400])
def test_a_windows_disk_takes_every_name(name):
    safe = safe_name(name)
    assert safe.split(".")[0].upper() not in {
        "CON",
        "PRN",
        "AUX",
        "NUL",
        *(f"{d}{i}" for d in ("COM", "LPT") for i in range(10)),
    }
    assert not set(safe) & set('<>:"/\\|?*')
    assert not safe.endswith((".", " "))
    assert len(safe) <= MAX_NAME
    assert safe != name
    assert safe_name("console") == "console"


def said(call):
    """Whether a call that opens text says its encoding, by name or, of read_text, first; bytes have none."""
    words = [
        n.value for arg in call.args for n in ast.walk(arg) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    named = any(keyword.arg == "encoding" for keyword in call.keywords)
    alone = call.func.attr == "read_text" and "utf-8" in words
    return (
        named or alone or any(word in ("rb", "wb", "ab", "r+b") for word in words) or "Image" in ast.unparse(call.func)
    )


def test_every_file_of_text_is_opened_with_its_encoding():
    silent = []
    for path in sorted(Path(tsfmicro_lab.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("open", "read_text", "write_text"):
                silent += [] if said(node) else [f"{path.name}:{node.lineno}: {ast.unparse(node)}"]
    assert not silent
    assert not said(ast.parse("path.open('a')").body[0].value)
