import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.pinned_file import PinnedFile, cache_folder

CONTENT = b"a detector's weights"


@pytest.fixture
def address(monkeypatch):
    """Serve the content, a longer one and a page that is not there, on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    pages = {"/right": CONTENT, "/longer": CONTENT * 1000, "/other": CONTENT[::-1]}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):  # the name that the library calls
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pinned(address="http://127.0.0.1:1/right"):
    digest = hashlib.sha256(CONTENT).hexdigest()
    return PinnedFile("weights", "weights.onnx", address, digest, len(CONTENT), "free")


def test_the_file_is_downloaded_and_verified(address, cache):
    file = pinned(f"{address}/right")
    assert not file.present
    assert file.fetch() == cache / "weights.onnx"
    assert (cache / "weights.onnx").read_bytes() == CONTENT
    assert file.present
    (cache / "weights.onnx").write_bytes(CONTENT[::-1])
    assert not file.present


@pytest.mark.parametrize("page", ["longer", "other", "absent"])
def test_another_answer_leaves_nothing(address, cache, page):
    with pytest.raises(FacedistillError, match=r"Not Found|is not the weights file that is wanted"):
        pinned(f"{address}/{page}").fetch()
    assert not cache.exists()


def test_an_address_that_cannot_be_reached_says_what_to_do(cache):
    with pytest.raises(FacedistillError, match=r"fetch weights --from FILE"):
        pinned().fetch()


def test_a_local_copy_is_installed_and_another_file_refused(cache, tmp_path):
    (tmp_path / "copy").write_bytes(CONTENT)
    assert pinned().install(tmp_path / "copy").read_bytes() == CONTENT
    for other in (CONTENT[:-1], CONTENT[::-1], CONTENT * 2):
        (tmp_path / "copy").write_bytes(other)
        with pytest.raises(FacedistillError, match=r"is not the weights file|at most 20 are read"):
            pinned().install(tmp_path / "copy")
    assert pinned().present


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.setenv("FACEDISTILL_CACHE", "/one")
    assert cache_folder() == Path("/one")
    monkeypatch.delenv("FACEDISTILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert cache_folder() == Path("/two/facedistill")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "facedistill"
