"""Signals to stop, sent to the whole group of processes of a command at random moments.

SIGTERM or SIGHUP, as `timeout`, systemd, Slurm and a closed terminal send them, meets the command
and its loader processes (and the runs of a comparison) at once. The command must end within a
minute with code 75 and one line that begins with `stopped` and says truly what is left, without a
traceback, and no process of its group may be left. Run again it must come to what the unbroken
command left.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from process import LIMIT, Command, Process, differences, run_unbroken

from facedistill.core.progress import progress_bar
from facedistill.distill.bank.unfinished_shard import kept_images

LOOSE = "procedural:identities=40,images=20,size=48,loose=1"
PAIRS = "procedural:identities=60,images=6,size=32,first_identity=900"
MOST = 3
"""Stops in one trial."""
_PATIENCE = 60
"""Seconds for a command to end."""
_MOMENT = 5
"""Seconds for what it started to end."""

Truth = Callable[[Path, str], bool]
"""Whether a line says truly what is in a folder."""


@dataclass
class Stops:
    """What the trials of a command have shown."""

    unbroken: float
    stops: int = 0
    trials: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    lines: Counter[str] = field(default_factory=Counter)


def try_stops(
    command: Command, truth: Truth, base: Path, stops: int, rng: np.random.Generator
) -> Stops:
    """Run trials until a command has been stopped `stops` times."""
    whole, out = base / f"{command.name}-whole", base / f"{command.name}-stopped"
    found = Stops(run_unbroken(command, whole))
    print(f"{command.name}: {found.unbroken:.1f} s unbroken", flush=True)
    with progress_bar("stops") as progress:
        task = progress.add_task(command.name, total=stops, note="")
        while found.stops < stops and len(found.wrong) < MOST:
            before = found.stops
            _try(command, truth, out, found, min(MOST, stops - found.stops), rng)
            if not found.wrong:
                found.wrong += [f"differs: {each}" for each in differences(out, whole)]
            progress.advance(task, found.stops - before)
            shutil.rmtree(out, ignore_errors=True)
            out.with_name(f"{out.name}.log").unlink()
    print(f"{command.name}: {found.stops} stops, wrong: {found.wrong}", flush=True)
    return found


def _try(
    command: Command, truth: Truth, out: Path, found: Stops, stops: int, rng: np.random.Generator
) -> None:
    """Run a command until it ends by itself, stopping it up to `stops` times."""
    found.trials += 1
    for left in range(stops, -1, -1):
        process = Process(command, out)
        process.wait_for_work()
        if process.ends_within(rng.uniform(0, found.unbroken) if left else LIMIT):
            if process.code:
                found.wrong.append(f"ended with code {process.code}: {process.output()[-500:]}")
            return
        process.signal_group(int(rng.choice([signal.SIGTERM, signal.SIGHUP])))
        began = time.monotonic()
        if not process.ends_within(_PATIENCE):
            process.signal_group(signal.SIGKILL)
            found.wrong.append("hangs")
            return
        found.slowest = max(found.slowest, time.monotonic() - began)
        if process.code == 0:
            return  # It came to its end in the same moment.
        found.stops += 1
        found.wrong += _complaints(process, truth, out)
        if found.wrong:
            return
        found.lines[_kind(_last_line(process))] += 1


def _complaints(process: Process, truth: Truth, out: Path) -> list[str]:
    line, wrong = _last_line(process), []
    if process.code != 75:
        wrong.append(f"code {process.code}: {process.output()[-500:]}")
    if "Traceback" in process.output() or "Error" in process.output():
        wrong.append(f"traceback: {process.output()[-500:]}")
    if "stopped" not in line or not truth(out, line):
        wrong.append(f"untrue: {line}")
    limit = time.monotonic() + _MOMENT
    while process.left_over():
        if time.monotonic() > limit:
            process.signal_group(signal.SIGKILL)
            return [*wrong, "a process is left"]
        time.sleep(0.01)
    return wrong


def _last_line(process: Process) -> str:
    return (process.output().strip().splitlines() or [""])[-1]


def _kind(line: str) -> str:
    """A line without what differs between trials: names of places, and numbers."""
    return re.sub(r"\d[\d,]*", "N", re.sub(r"\S*/\S*[^\s:,;]", "FOLDER", line)).partition(":")[0]


def stopped_commands(base: Path, network: list[str]) -> dict[Command, Truth]:
    """Return the commands, all with loader processes, each with the truth of what it says.

    Args:
        base: Holds `faces`, and the run `train`.
        network: Settings of a small network, as words of a command line.
    """
    faces, model = base / "faces", base / "train" / "best.safetensors"
    finder = _finder(base, network)
    run = ["--set", f"data.train={faces}", *network, "--set", "data.workers=2"]
    embed = ("embed", "--teacher", str(model), "--data", str(faces), "--workers", "2")
    align = ("prepare", LOOSE, "--align", "--pack", "--model", str(finder), "--workers", "2")
    evaluate = ("evaluate", str(model), PAIRS, "--robustness", "both", "--overwrite")
    return {
        Command("stopped train", ("train", "arcface", *run)): _true_of_run,
        Command("stopped embed", embed): _true_of_embed,
        Command("compare", ("compare", "arcface", "--seeds", "0", "1", *run)): _true_of_comparison,
        Command("prepare --align", (*align, "--overwrite")): _true_of("train.rec"),
        Command(
            "export",
            ("export", str(model), "--data", str(faces), "--overwrite"),
            file="student.onnx",
        ): _true_of("student.onnx"),
        Command("evaluate", evaluate, output="--report"): _true_of_report,
    }


def _finder(base: Path, network: list[str]) -> Path:
    """Train a landmark network for a few steps."""
    loose = "procedural:identities=6,images=4,size=32,loose=1"
    words = ["--set", f"data.train={loose}", "--set", "data.validation_identities=2"]
    run_unbroken(Command("finder", ("train", "landmarks", *network, *words)), base / "finder")
    return base / "finder" / "best.safetensors"


def _true_of_run(out: Path, line: str) -> bool:
    checkpoint = out / "checkpoint.pt"
    if saved := re.search(r"step ([\d,]+) is saved", line):
        step = torch.load(checkpoint, weights_only=True)["step"]
        return bool(step == int(saved[1].replace(",", "")))
    if "before training began" in line or line.startswith("stopped: run"):
        return True  # It has not looked.
    if "no step is saved" in line:
        return not checkpoint.exists()
    return checkpoint.exists() and ("keeps its result" in line) == (out / "summary.json").exists()


def _true_of_embed(out: Path, line: str) -> bool:
    counted = re.search(r"([\d,]+) of [\d,]+ images are kept", line)
    return kept_images(out)[0] == (int(counted[1].replace(",", "")) if counted else 0)


def _true_of_comparison(out: Path, line: str) -> bool:
    counted = re.search(r"runs finished: (\d+) of \d+, with a checkpoint: (\d+)", line)
    if counted is None:
        return line.startswith("stopped: run the same command again")
    folders = [path.parent for path in out.glob("runs/*/*/checkpoint.pt")]
    finished = sum((folder / "summary.json").exists() for folder in folders)
    return (finished, len(folders) - finished) == (int(counted[1]), int(counted[2]))


def _true_of(name: str) -> Truth:
    return lambda out, line: ("is written" in line) == (out / name).exists()


def _true_of_report(out: Path, line: str) -> bool:
    return {path.name for path in out.glob("[!.]*")} == {
        name for name in ("report.json", "report.md", "report.html") if name in line
    }


def table_of_stops(found: dict[str, Stops]) -> str:
    """Return the counts as Markdown."""
    lines = [
        "| command | unbroken work | stops | trials | in good order, then equal | slowest end |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in found.items():
        good = each.stops - len(each.wrong)
        lines.append(
            f"| {name} | {each.unbroken:.1f} s | {each.stops} | {each.trials} | {good} | "
            f"{each.slowest:.1f} s |"
        )
    lines += ["", "| command | last line | times |", "| --- | --- | --- |"]
    for name, each in found.items():
        lines += [f"| {name} | {line} | {times} |" for line, times in sorted(each.lines.items())]
    return "\n".join(lines)
