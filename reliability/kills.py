"""Commands killed with SIGKILL at random moments and run again, against unbroken ones.

    OMP_NUM_THREADS=1 python reliability/kills.py [--kills 30] [--aimed 10] [--most 3]

On drawn faces of 32 pixels it runs `facedistill train`, `embed` and `distill` unbroken, then in
trials: each trial starts in an empty folder, is killed after a random time, is started again by the
same command, perhaps killed again, and so on until the command ends by itself. The time is uniform
between the moment when the work begins (imports are over) and the length of the unbroken work, so
kills fall into reading, training, writing and the command's last moments alike. Since writing takes
a small share of the time, some kills more are aimed: after the random time they wait for the next
file that is being written. What a trial leaves must equal what the unbroken command left, bit for
bit: bank, weights, optimiser, metrics and the names of all files. Only the speed in summary.json
may differ. Ends with status 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.cli import app as cli
from facedistill.core.progress import progress_bar

FORK = multiprocessing.get_context("forkserver")

SIZE = 32
FACES = f"procedural:identities=210,images=40,size={SIZE}"
"""Three shards of a bank."""
STEPS = 40
LIMIT = 600
"""Seconds after which a command counts as hanging."""

NETWORK = [
    f"student.input.size={SIZE}",
    "student.arguments={width: 0.25}",
    "student.embedding_size=32",
    "data.validation_identities=20",
    "data.validation_pairs=60",
    "data.cache=none",
    "data.workers=1",
    "training.batch_size=8",
    "training.accumulate=2",
    f"training.steps={STEPS}",
    "training.ema=0.9",
    "training.evaluate_every=0.01",
    "training.log_every=5",
    "training.checkpoint_minutes=0.001",
    "training.device=cpu",
]


@dataclass(frozen=True)
class Command:
    """A command under test.

    Attributes:
        name: Of the command.
        arguments: All but --out.
        begins: File that it writes anew when its work begins.
        place: Says where it stands, from the folder.
    """

    name: str
    arguments: list[str]
    begins: str
    place: Callable[[Path], str]


@dataclass
class Tally:
    """What the trials of a command have shown."""

    unbroken: float
    kills: int = 0
    trials: int = 0
    equal: int = 0
    most: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def add(self, command: Command, places: list[str], differences: list[str]) -> None:
        """Count a trial and print it."""
        if not places and not differences:
            return
        self.kills += len(places)
        self.trials += 1
        self.equal += not differences
        self.most = max(self.most, len(places))
        self.phases.update(place.partition(",")[0] for place in places)
        verdict = f"DIFFERENT: {'; '.join(differences)}" if differences else "equal"
        print(f"{command.name} trial {self.trials}: {' | '.join(places)}: {verdict}", flush=True)


class Process:
    """A command at work in a process of its own, its output in a file beside its folder.

    The process is forked from one that has imported everything and done nothing else, which spares
    the imports. SIGKILL meets it, and it alone, as it would meet one started by a shell.
    """

    def __init__(self, command: Command, out: Path) -> None:
        self.command, self.out = command, out
        self.log = out.with_name(f"{out.name}.log")
        self.before = _inode(out / command.begins)
        self.child = FORK.Process(
            target=_command_line, args=([*command.arguments, "--out", str(out)], self.log)
        )
        self.child.start()

    def wait_for_work(self) -> None:
        """Return when imports are over and the command has begun to work."""
        limit = time.monotonic() + LIMIT
        begins = self.out / self.command.begins
        while self.child.is_alive() and _inode(begins) == self.before:
            if time.monotonic() > limit:
                raise RuntimeError(f"{self.command.name} does not begin: {self.output()}")
            time.sleep(0.002)

    def ends_within(self, seconds: float, aimed: bool = False) -> bool:
        """Whether it ends by itself; else it is killed, aimed when it next writes a file."""
        self.child.join(seconds)
        if self.child.is_alive():
            if aimed:
                self._wait_for_writing()
            self.child.kill()
            self.child.join()
            # It may have come to its end in the same moment.
            if self.child.exitcode == -signal.SIGKILL:
                return False
        if self.child.exitcode != 0:
            raise RuntimeError(f"{self.command.name} failed: {self.output()}")
        return True

    def _wait_for_writing(self) -> None:
        before = _hidden(self.out)
        while self.child.is_alive() and _hidden(self.out) <= before:
            time.sleep(0.0005)

    def output(self) -> str:
        """Return the end of its output."""
        return self.log.read_text()[-2000:]


def _command_line(arguments: list[str], log: Path) -> None:
    """Be `facedistill ARGUMENTS`, with what it prints in `log`."""
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as by default
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["facedistill", *arguments]
    cli.main()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def run_unbroken(command: Command, out: Path) -> float:
    """Run a command to its end; return the seconds that its work took."""
    process = Process(command, out)
    process.wait_for_work()
    began = time.monotonic()
    if not process.ends_within(LIMIT):
        raise RuntimeError(f"{command.name} takes more than {LIMIT} s: {process.output()}")
    return time.monotonic() - began


def run_killed(
    command: Command,
    out: Path,
    length: float,
    kills: int,
    aimed: bool,
    rng: np.random.Generator,
) -> list[str]:
    """Run a command until it ends by itself, killing it up to `kills` times.

    Returns:
        Where each kill has met it.
    """
    places: list[str] = []
    while True:
        hidden = _hidden(out)
        process = Process(command, out)
        process.wait_for_work()
        within = rng.uniform(0, length) if len(places) < kills else LIMIT
        if process.ends_within(within, aimed):
            return places
        places.append(_writing(_hidden(out) - hidden) or command.place(out))


def _hidden(out: Path) -> set[str]:
    """Names of temporary files: of one at work or, after it was killed, cut off."""
    return {path.name for path in out.glob(".*") if path.name != ".lock"}


def _writing(temporary: set[str]) -> str:
    """Name the file that was being written: `.NAME-RANDOM.SUFFIX` was to become it."""
    names = {name[1:].rpartition("-")[0] + Path(name).suffix for name in temporary}
    return f"writing {', '.join(sorted(names))}" if names else ""


def _place_of_embed(out: Path) -> str:
    return f"{sum(1 for _ in out.glob('rows-*.npy'))} shards done"


def _place_of_run(out: Path) -> str:
    if (out / "summary.json").exists():
        return "after the end"
    if not (out / "checkpoint.pt").exists():
        return "before the first checkpoint"
    lines = (out / "metrics.jsonl").read_text().splitlines()
    step = json.loads(lines[-1])["step"] if lines else 0
    return f"training, step {step} logged" if step < STEPS else "measuring, all steps done"


def differences(killed: Path, unbroken: Path) -> list[str]:
    """Return what differs between two folders."""
    names = [{path.name for path in folder.iterdir()} for folder in (killed, unbroken)]
    if names[0] != names[1]:
        return [f"files {sorted(names[0] ^ names[1])}"]
    return [
        name for name in sorted(names[0]) if _content(killed / name) != _content(unbroken / name)
    ]


def _content(path: Path) -> Any:
    """A file's content in a form in which equal means equal bit for bit."""
    if path.suffix == ".pt":
        # The archive itself bears the name of the temporary file that it was written to.
        return _comparable(torch.load(path, weights_only=True))
    if path.name == "summary.json":
        timings = {"images_per_second": None, "seconds_per_step": None}
        return {**json.loads(path.read_text()), **timings}
    return path.read_bytes()


def _comparable(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return str(state.dtype), tuple(state.shape), state.contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {key: _comparable(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_comparable(value) for value in state]
    return state


def _settings(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def commands(base: Path) -> list[Command]:
    """Return the commands, each of which needs what those before it made in `base`."""
    faces, teacher = base / "faces", base / "train" / "best.safetensors"
    augmentation = (
        "data.augmentation={shift: 0.1, rotation: 15, brightness: 0.3, contrast: 0.3, "
        "occlusion: 0.3, grayscale: 0.2, blur: 0.3, downscale: 0.3, jpeg: 0.3}"
    )
    common = [f"data.train={faces}", augmentation, *NETWORK]
    teacher_settings = [f"teacher.bank={base / 'embed'}", "teacher.view=clean"]
    return [
        Command("train", ["train", "arcface", *_settings(*common)], "recipe.yaml", _place_of_run),
        Command(
            "embed",
            ["embed", "--teacher", str(teacher), "--data", str(faces)],
            "bank.json",
            _place_of_embed,
        ),
        Command(
            "distill",
            ["distill", "fcd", *_settings(*common, *teacher_settings)],
            "recipe.yaml",
            _place_of_run,
        ),
    ]


def prepare(base: Path) -> None:
    """Draw the faces and pack them."""
    arguments = ["prepare", FACES, "--pack", "--workers", "1"]
    command = Command("prepare", arguments, "train.rec", lambda _: "")
    if not Process(command, base / "faces").ends_within(LIMIT):
        raise RuntimeError(f"packing takes more than {LIMIT} s")


def try_out(
    command: Command,
    base: Path,
    tally: Tally,
    kills: int,
    most: int,
    aimed: bool,
    rng: np.random.Generator,
) -> None:
    """Run trials until a command has been killed `kills` times more, `most` times in each."""
    with progress_bar("kills") as progress:
        task = progress.add_task(command.name, total=kills, note="aimed" if aimed else "")
        while kills > 0:
            out = base / f"{command.name}-killed"
            places = run_killed(command, out, tally.unbroken, min(kills, most), aimed, rng)
            # One that ended before its time has come is another unbroken one.
            tally.add(command, places, differences(out, base / command.name))
            kills -= len(places)
            progress.advance(task, len(places))
            shutil.rmtree(out)
            out.with_name(f"{out.name}.log").unlink()


def _table(tallies: dict[str, Tally]) -> str:
    lines = [
        "| command | unbroken work | kills | trials | most kills in one | equal | different |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, tally in tallies.items():
        lines.append(
            f"| {name} | {tally.unbroken:.1f} s | {tally.kills} | {tally.trials} | {tally.most} | "
            f"{tally.equal} | {tally.trials - tally.equal} |"
        )
    lines += ["", "| command | killed while | times |", "| --- | --- | --- |"]
    for name, tally in tallies.items():
        lines += [f"| {name} | {phase} | {n} |" for phase, n in sorted(tally.phases.items())]
    return "\n".join(lines)


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="per command")
    parser.add_argument("--aimed", type=int, default=10, help="more of them, while it writes")
    parser.add_argument("--most", type=int, default=3, help="kills in one trial")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", nargs="+", choices=("train", "embed", "distill"))
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    FORK.set_forkserver_preload(
        ["facedistill.cli.app", "facedistill.distill.bank.making", "facedistill.experiments.run"]
    )
    rng = np.random.default_rng(arguments.seed)
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        base = Path(folder)
        prepare(base)
        for command in commands(base):
            length = run_unbroken(command, base / command.name)
            print(f"{command.name}: {length:.1f} s unbroken", flush=True)
            if arguments.only and command.name not in arguments.only:
                continue
            tallies[command.name] = Tally(length)
            for kills, aimed in ((arguments.kills, False), (arguments.aimed, True)):
                tally = tallies[command.name]
                try_out(command, base, tally, kills, arguments.most, aimed, rng)
    print(_table(tallies))
    sys.exit(any(tally.equal < tally.trials for tally in tallies.values()))


if __name__ == "__main__":
    main()
