import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.damage import find_damaged, naming_all_damaged, without_damaged
from facedistill.data.formats.image_folder import FolderDataset
from tests.data.formats.test_image_folder import write


@pytest.fixture
def damaged(tmp_path):
    """Five images of three identities, of which two are damaged and one identity loses all."""
    write(tmp_path, {"a/1.png": 1, "a/2.png": 2, "b/1.png": 3, "c/1.png": 4, "c/2.png": 5})
    (tmp_path / "a" / "2.png").write_bytes(b"")
    (tmp_path / "b" / "1.png").write_bytes((tmp_path / "b" / "1.png").read_bytes()[:-9])
    return FolderDataset(tmp_path)


def test_all_damaged_images_are_named_at_once(damaged):
    assert list(find_damaged(damaged)) == [1, 2]
    with (
        pytest.raises(FacedistillError, match=r"2 of 5 images are damaged: .* --skip") as error,
        naming_all_damaged(damaged),
    ):
        _ = damaged[2]
    assert len(error.value.details) == 2
    assert "a/2.png: the image has zero bytes" in error.value.details[0]
    assert "b/1.png: the PNG is cut short" in error.value.details[1]
    (damaged.root / "a" / "2.png").write_bytes(damaged.encoded(0))
    with (
        pytest.raises(
            FacedistillError, match=r"b/1\.png: .*remove the image, or .* --skip"
        ) as error,
        naming_all_damaged(damaged),
    ):
        _ = damaged[2]
    assert error.value.details == ()
    with pytest.raises(FacedistillError, match=r"^other$"), naming_all_damaged(damaged):
        raise FacedistillError("other")


def test_damaged_images_are_left_out_and_named(damaged):
    with (
        pytest.warns(UserWarning, match="no image left"),
        pytest.warns(UserWarning, match="left out: ") as warned,
    ):
        kept = without_damaged(damaged)
    assert kept.labels.tolist() == [0, 1, 1]
    assert [kept.copy_name(index) for index in range(3)] == ["a/1", "c/1", "c/2"]
    messages = [str(warning.message) for warning in warned]
    assert [message.split(":")[0] for message in messages[:2]] == ["left out", "left out"]
    assert "1 identities have no image left" in messages[2]
    assert without_damaged(kept) is kept


def test_a_set_of_damaged_images_only_is_refused(damaged, tmp_path):
    for file in damaged.files:
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(FacedistillError, match="5 of 5 images are damaged"):
        without_damaged(damaged)
