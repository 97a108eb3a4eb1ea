import pytest

from facedistill.core.extras import import_extra


def test_a_package_is_imported(monkeypatch, tmp_path):
    (tmp_path / "whole_package.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_extra("whole_package").answer == 42


def test_an_absent_package_is_named():
    with pytest.raises(ModuleNotFoundError) as error:
        import_extra("package_of_tomorrow")
    assert error.value.name == "package_of_tomorrow"


@pytest.mark.parametrize(
    "kind", ["AttributeError", "ImportError", "OSError", "RuntimeError", "TypeError", "ValueError"]
)
def test_a_package_that_does_not_load_says_why(monkeypatch, tmp_path, kind):
    (tmp_path / f"broken_{kind}.py").write_text(f"raise {kind}('libodd.so: no such\\nsymbol')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"^libodd\.so: no such"):
        import_extra(f"broken_{kind}")
