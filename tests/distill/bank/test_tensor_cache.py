import pytest
import torch
from safetensors.torch import save_file

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.tensor_cache import Kind, kept_tensor, kept_tensors

MARK = "0123456789abcdef0123456789abcdef"


def keep(folder, value=1.0, fingerprint=MARK, shape=(2, 3)):
    calls = []

    def compute():
        calls.append(1)
        return torch.full(shape, value, dtype=torch.float64, requires_grad=True)

    return kept_tensor(folder / "teacher-map", fingerprint, shape, compute), len(calls)


def test_it_is_computed_once(tmp_path):
    first, calls = keep(tmp_path)
    assert calls == 1
    assert first.dtype == torch.float32
    assert not first.requires_grad
    second, calls = keep(tmp_path, value=2.0)
    assert calls == 0
    assert torch.equal(first, second)
    assert [p.name for p in tmp_path.iterdir()] == [f"teacher-map-{MARK[:16]}.safetensors"]


def test_what_comes_of_other_things_is_another_tensor(tmp_path):
    keep(tmp_path)
    other, calls = keep(tmp_path, value=2.0, fingerprint=MARK[::-1])
    assert calls == 1
    assert other.unique().item() == 2.0


def test_a_file_of_the_same_short_name_is_not_mistaken(tmp_path):
    keep(tmp_path)
    with pytest.warns(UserWarning, match=r"teacher-map-.* is damaged \(it is of other data\)"):
        other, calls = keep(tmp_path, value=2.0, fingerprint=MARK[:16] + 16 * "0")
    assert (calls, other.unique().item()) == (1, 2.0)
    with pytest.warns(UserWarning, match="it has another shape"):
        _, calls = keep(tmp_path, fingerprint=MARK[:16] + 16 * "0", shape=(3, 3))
    assert calls == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense" * 100, "cut", "nan", "double"])
def test_a_damaged_file_is_written_anew(tmp_path, damage):
    keep(tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        value, dtype = (1.0, torch.float64) if damage == "double" else (torch.nan, torch.float32)
        tensors = {"tensor": torch.full((2, 3), value, dtype=dtype)}
        save_file(tensors, path, metadata={"fingerprint": MARK})
    with pytest.warns(UserWarning, match="is damaged"):
        again, calls = keep(tmp_path)
    assert (calls, again.unique().item()) == (1, 1.0)
    assert keep(tmp_path)[1] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_what_is_not_finite_is_refused_and_not_kept(tmp_path, value):
    with pytest.raises(
        FacedistillError, match=r"teacher-map-.* is not finite, .* check its weights"
    ):
        keep(tmp_path, value)
    assert not list(tmp_path.iterdir())


def test_several_are_kept_together_if_they_belong_together(tmp_path):
    path, kinds = tmp_path / "two", {"one": Kind((1,)), "other": Kind((2,), torch.int64)}

    def keep_two(check=None):
        def compute():
            return {"one": torch.zeros(1), "other": torch.arange(2)}

        return kept_tensors(path, MARK, kinds, compute, check, again="again", unkept="unkept")

    def refuse(kept):
        assert kept["other"].tolist() == [0, 1]
        raise ValueError("no pair")

    keep_two(refuse)
    with pytest.warns(UserWarning, match=r"two is damaged \(no pair\): again"):
        keep_two(refuse)
    assert keep_two()["one"].tolist() == [0]


def test_a_folder_that_takes_no_file_is_only_warned_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="not kept, to be computed anew next time"):
        tensor, calls = keep(tmp_path / "file")
    assert (calls, tensor.shape) == (1, (2, 3))
