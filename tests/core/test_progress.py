import io
import sys

import pytest

from facedistill.core.progress import progress_bar, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_track_gives_the_items_and_is_silent_off_a_terminal(capfd):
    assert list(track(iter("abc"), "letters", 3, "letters")) == ["a", "b", "c"]
    out, err = capfd.readouterr()
    assert out == err == ""


def test_track_is_lazy():
    taken = []
    items = track((taken.append(i) or i for i in range(5)), "numbers", 5, "numbers")
    assert taken == []
    next(items)
    assert taken == [0]
    items.close()


def test_an_error_passes_through():
    def broken():
        yield 1
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        list(track(broken(), "numbers", 2, "numbers"))


def test_a_terminal_sees_count_unit_and_note(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with progress_bar("images") as progress:
        task = progress.add_task("embed", total=4, note="shard 2")
        for _ in range(4):
            progress.advance(task)
    shown = sys.stderr.getvalue()
    assert "embed" in shown
    assert "4/4" in shown
    assert "shard 2" in shown
    assert "images/s" in shown


def test_a_description_is_neither_markup_nor_a_command(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(track([1], "[/red]\x1b[2J\udcff", 1, "images")) == [1]
    assert r"[/red]\x1b[2J\udcff" in terminal.getvalue()
