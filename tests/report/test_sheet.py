import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.report import sheet as module
from facedistill.report.sheet import contact_sheet, pair_sheet, save_sheet

GREEN, RED, GRAY = (46, 160, 67), (218, 54, 51), (208, 215, 222)


def tile(value, height=40, width=30):
    return np.full((height, width, 3), value, np.uint8)


def boxes(sheet, value):
    """Return (y, x, height, width) of the area of one colour."""
    rows, columns = np.nonzero((sheet == value).all(axis=2))
    return rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1


def test_images_stand_in_rows_with_their_own_pixels():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 250, (40, 30, 3), dtype=np.uint8) for _ in range(5)]
    for labels, title in ((None, None), (list("abcde"), "Five")):
        sheet = contact_sheet(images, 3, labels, title)
        assert sheet.dtype == np.uint8
        places = []
        for image in images:
            windows = np.lib.stride_tricks.sliding_window_view(sheet, image.shape)[:, :, 0]
            # Of all places where the first row fits, the one where the whole image does.
            match = np.argwhere((windows[:, :, 0] == image[0]).all(axis=(2, 3)))
            assert len(match) == 1
            y, x = match[0]
            np.testing.assert_array_equal(sheet[y : y + 40, x : x + 30], image)
            places.append((y, x))
        ys, xs = np.array(places).T
        assert ys[0] == ys[1] == ys[2] < ys[3] == ys[4]
        assert xs[0] == xs[3] < xs[1] == xs[4] < xs[2]


def test_smaller_images_are_centred_in_their_cell():
    sheet = contact_sheet([tile(10, 41, 41), tile(20, 21, 31)], 2)
    top, left, _, _ = boxes(sheet, (10, 10, 10))
    y, x, height, width = boxes(sheet, (20, 20, 20))
    assert (height, width) == (21, 31)
    assert (y, x) == (top + 10, left + 41 + 8 + 5)


def test_labels_and_title_are_drawn_where_they_belong():
    plain = contact_sheet([tile(10)] * 4, 4)
    assert set(np.unique(plain)) == {10, 255}
    sheet = contact_sheet([tile(10)] * 4, 4, ["W", "", "W", ""], "Title")
    ink = (sheet != 255).any(axis=2) & (sheet != 10).any(axis=2)
    y, x, height, width = boxes(sheet, (10, 10, 10))
    assert ink[:y].any()
    under = ink[y + height :]
    cells = [under[:, x + 38 * k : x + 38 * k + 30].any() for k in range(4)]
    assert cells == [True, False, True, False]
    assert not ink[y : y + height].any()
    assert width == 4 * 30 + 3 * 8


@pytest.mark.parametrize(
    "label", ["$x_1$ and $", "a very long label " * 50, "two\nlines", "Zoë Łuk Ümit", "", "\\frac{"]
)
def test_any_label_stays_within_its_cell(label):
    sheet = contact_sheet([tile(10, 40, 90)] * 3, 3, ["", label, ""])
    middle = sheet[:, 16 + 98 : 16 + 98 + 90].copy()
    sheet[:, 16 + 98 - 4 : 16 + 98 + 90 + 4] = 255
    outside = (sheet != 255).any(axis=2) & (sheet != 10).any(axis=2)
    assert not outside.any()
    assert ((middle != 255) & (middle != 10)).any() == bool(label)


def test_pairs_are_framed_by_the_decision():
    pairs = [(tile(10), tile(30))] * 4
    sheet = pair_sheet(pairs, [0.9, 0.1, 0.9, 0.1], [True, True, False, False], 0.5, columns=4)
    step = 2 * 30 + 3 * 3 + 8
    frames = [tuple(sheet[16, 16 + step * k].tolist()) for k in range(4)]
    assert frames == [GREEN, RED, RED, GREEN]


def test_decision_at_the_threshold_is_to_accept():
    sheet = pair_sheet([(tile(10), tile(30))], np.array([0.5]), np.array([True]), 0.5)
    assert tuple(sheet[16, 16].tolist()) == GREEN


def test_pairs_without_decision_are_gray_and_need_no_scores():
    pairs = [(tile(10), tile(30, 80, 60))]
    for scores in (None, [0.3]):
        sheet = pair_sheet(pairs, scores, [True])
        assert tuple(sheet[16, 16].tolist()) == GRAY
        assert boxes(sheet, (10, 10, 10))[2:] == (40, 30)
        assert boxes(sheet, (30, 30, 30))[2:] == (40, 30)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: contact_sheet([], 3), "at least one image"),
        (lambda: contact_sheet([tile(1)], -1), "give at least 1"),
        (lambda: contact_sheet([tile(1)], 1, ["a", "b"]), "1 images but 2 labels"),
        (lambda: contact_sheet([tile(1)[..., 0]]), "image 0 .* not uint8"),
        (lambda: contact_sheet([tile(1), tile(1) / 2]), "image 1 .* float64"),
        (lambda: pair_sheet([(tile(1), tile(2))], [0.1, 0.2], [True], 0.5), "2 scores"),
        (lambda: pair_sheet([(tile(1), tile(2))], None, [True], 0.5), "no scores"),
        (lambda: pair_sheet([(tile(1), tile(2))], [0.1], [], 0.5), "0 truths"),
    ],
)
def test_what_does_not_fit_is_refused(draw, message):
    with pytest.raises(FacedistillError, match=message):
        draw()


def test_sheets_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_SHEET_PIXELS", 10_000)
    with pytest.raises(FacedistillError, match="show fewer images"):
        contact_sheet([tile(1)] * 20)


def test_saved_sheet_reads_back_in_rgb(tmp_path):
    sheet = contact_sheet([np.full((8, 8, 3), (200, 100, 0), np.uint8)], 1, ["a"])
    path = tmp_path / "made" / "sheet.png"
    save_sheet(path, sheet)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], sheet)
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(FacedistillError, match="cannot write"):
        save_sheet(path / "below.png", sheet)
