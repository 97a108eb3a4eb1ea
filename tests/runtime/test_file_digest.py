import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.file_digest import (
    blank_ending,
    check_digest,
    require_digest,
    write_digest,
)

CONTENT = bytes(range(8))
SUFFIXES = [".onnx", ".xml", ".tflite"]


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    path = tmp_path / f"student{request.param}"
    path.write_bytes(CONTENT)
    write_digest(path)
    return path


def flipped(content):
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bit // 8, bytes(damaged)


def test_no_flipped_bit_passes(path):
    whole = path.read_bytes()
    assert check_digest(path)
    refused = 0
    for place, damaged in flipped(whole):
        path.write_bytes(damaged)
        try:
            passed = check_digest(path)
        except FacedistillError:
            refused += 1
        else:
            # It has no digest, and is refused once it is seen to carry facedistill's document.
            assert not passed
            assert place >= len(CONTENT)
    assert refused >= 8 * (len(CONTENT) + 32)


def test_a_file_keeps_what_it_was_and_one_digest(path):
    once = path.read_bytes()
    assert once.startswith(CONTENT)
    assert len(once) == len(CONTENT) + len(blank_ending(path.suffix))
    write_digest(path)
    assert path.read_bytes() == once


def test_weights_beside_a_file_belong_to_it(tmp_path):
    path, weights = tmp_path / "a.xml", tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    weights.write_bytes(CONTENT)
    write_digest(path, [weights])
    assert check_digest(path, [weights])
    for _, damaged in flipped(CONTENT):
        weights.write_bytes(damaged)
        with pytest.raises(FacedistillError, match=r"a\.xml or .*a\.bin is damaged"):
            check_digest(path, [weights])
    weights.unlink()
    with pytest.raises(FacedistillError, match=r"a\.bin.*does not exist"):
        check_digest(path, [weights])


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".ONNX"])
def test_files_of_others_have_none(tmp_path, suffix, content):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    assert not check_digest(path)
    with pytest.raises(FacedistillError, match=r"has no digest at its end.*export it again"):
        require_digest(path, whole=False)
