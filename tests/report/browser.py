"""Pages looked at by a real browser, where there is one."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_PROBE = """<script>
addEventListener("error", event => problems.push(String(event.message || event.target.src)), true);
addEventListener("load", () => {
  const images = [...document.images];
  const seen = {
    problems: problems,
    images: images.length,
    absent: images.filter(image => !image.complete || !image.naturalWidth).map(i => i.alt),
    outside: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    wide: document.documentElement.scrollWidth > innerWidth,
    text: document.body.innerText,
  };
  const note = document.createElement("pre");
  note.id = "seen";
  note.textContent = JSON.stringify(seen);
  document.body.append(note);
});
</script>"""


def look_at(page: Path, folder: Path, width: int = 1200) -> dict:
    """What a browser finds in a page: its text, images, errors and requests to elsewhere.

    The page is shown with a script before everything else that records errors.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is found: {', '.join(BROWSERS)}")
    watched = folder / f"watched-{width}.html"
    start = "<script>const problems = [];</script>" + _PROBE
    watched.write_text(page.read_text().replace("<head>", "<head>" + start, 1))
    command = [
        found, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},1200", "--virtual-time-budget=10000", "--dump-dom",
        watched.as_uri(),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (noted,) = re.findall(r'<pre id="seen">(.*?)</pre>', result.stdout, re.S)
    seen = json.loads(html.unescape(noted))
    seen["console"] = re.findall(r".*:CONSOLE.*", result.stderr)
    return seen
