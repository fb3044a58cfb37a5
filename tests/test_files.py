import ast
import errno
import hashlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tsfmicro_lab
from tsfmicro_lab import files
from tsfmicro_lab.files import MAX_NAME, alone, bundled, check_own, file_digest, safe_name, space_advice, write_whole


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


def test_a_name_is_cut_only_where_it_is_too_long_and_ends_in_its_hash():
    assert safe_name("x" * 100) == "x" * 100
    assert safe_name("x" * 101) == "x" * 91 + "~" + hashlib.sha256(b"x" * 101).hexdigest()[:8]
    assert safe_name("../sub 01") == "_sub_01~441a2e61", "as sha256sum says"


def test_what_comes_with_the_lab_is_found_inside_the_package_and_else_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "__file__", str(tmp_path / "env" / "tsfmicro_lab" / "files.py"))
    (tmp_path / "cards").mkdir()
    with pytest.raises(FileNotFoundError) as told:
        bundled("cards")
    for place in (tmp_path / "env" / "cards", tmp_path / "env" / "tsfmicro_lab" / "cards"):
        assert str(place) in str(told.value)
        place.mkdir(parents=True)
        assert bundled("cards") == place


def test_a_file_is_known_by_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # an example of FIPS 180
    assert file_digest(tmp_path / "abc") == known


def test_a_write_that_fails_leaves_the_file_before(tmp_path):
    write_whole(tmp_path / "a" / "b.txt", lambda path: path.write_text("before"))

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a" / "b.txt", fail)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text() == "before"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EEXIST, errno.EIO])
def test_space_is_asked_for_where_there_is_none_and_nowhere_else(number):
    with (
        pytest.raises(OSError, match=r"^the table could not be saved \(\[Errno") as told,
        space_advice("the table could not be saved", "all else is kept"),
    ):
        raise OSError(number, os.strerror(number), "folds")
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    assert ("free some space and start again, all else is kept" in str(told.value)) == full
    assert "'folds'" in str(told.value)


def test_a_lock_that_is_none_is_not_told_as_another_run(tmp_path):
    with alone(tmp_path), pytest.raises(OSError, match="another run is writing to"), alone(tmp_path):
        pass
    for harm in (lambda path: path.write_bytes(b"x" * 5000), lambda path: path.mkdir()):
        (tmp_path / ".lock").unlink()
        harm(tmp_path / ".lock")
        told = re.escape(f"{tmp_path / '.lock'} cannot be used as a lock")
        with pytest.raises(OSError, match=rf"{told} \(.*\): delete it and start again"), alone(tmp_path):
            pass


def test_files_of_somebody_else_are_named_and_a_folder_is_no_file(tmp_path):
    check_own(tmp_path / "none", "a demo", False, "scores.csv")
    check_own(tmp_path, "a demo", False, "scores.csv")
    (tmp_path / "scores.csv").mkdir()
    check_own(tmp_path, "a demo", True, "scores.csv")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'scores.csv'} is not of a demo: give another folder")):
        check_own(tmp_path, "a demo", False, "index.html", "scores.csv")
    with pytest.raises(ValueError, match=r"scores.csv is a folder, where a file belongs"):
        file_digest(tmp_path / "scores.csv")


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
