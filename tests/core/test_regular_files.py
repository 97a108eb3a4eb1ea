import os
import socket
import stat

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import read_regular, require_regular


def test_only_regular_files_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular("file") == read_regular("link", 7) == b"content"
    require_regular("link")
    os.mkfifo("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        kinds = {"pipe": "a pipe", "device": "a device", "socket": "a socket", ".": "a folder"}
        for name, kind in kinds.items():
            for read in (read_regular, require_regular):
                with pytest.raises(FacedistillError, match=f"^{name} is {kind}, not a file"):
                    read(name)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)  # noqa: PTH116


def test_what_cannot_be_read_is_named(tmp_path):
    require_regular(tmp_path / "none")
    for path in (tmp_path / "none", f"{tmp_path}/{300 * 'x'}", f"{tmp_path}/a\0b"):
        require_regular(path)
        with pytest.raises(FacedistillError, match="cannot read"):
            read_regular(path)
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(FacedistillError, match="has 7 bytes, at most 6 are read"):
        read_regular(tmp_path / "file", 6)
