"""Commands disturbed at random moments and run again, against unbroken ones.

    OMP_NUM_THREADS=1 python reliability/kills.py [--kills 30] [--aimed 10] [--most 3] [--stops 20]

On drawn faces of 32 pixels it runs `facedistill train`, `embed` and `distill` unbroken, then in
trials: each trial starts in an empty folder, is killed with SIGKILL after a random time, is started
again by the same command, perhaps killed again, and so on until the command ends by itself. The
time is uniform between the moment when the work begins and the length of the unbroken work, so
kills fall into reading, training, writing and the command's last moments alike. Since writing takes
a small share of the time, some kills more are aimed: after the random time they wait for the next
file that is being written. What a trial leaves must equal what the unbroken command left, bit for
bit: bank, weights, optimiser, metrics and the names of all files. Only the speed in summary.json
may differ.

Then signals that ask to stop are sent to the whole group of processes, see `stops.py`. Ends with
status 1 on any difference, and on any stop that was not in good order.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from process import LIMIT, Command, Place, Process, differences, preload, run_unbroken
from stops import stopped_commands, table_of_stops, try_stops

from facedistill.core.progress import progress_bar

SIZE = 32
FACES = f"procedural:identities=210,images=40,size={SIZE}"
"""Three shards of a bank."""
STEPS = 40

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


@dataclass
class Tally:
    """What the trials of a command have shown."""

    unbroken: float
    kills: int = 0
    trials: int = 0
    equal: int = 0
    most: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def add(self, command: Command, places: list[str], different: list[str]) -> None:
        """Count a trial and print it."""
        if not places and not different:
            return
        self.kills += len(places)
        self.trials += 1
        self.equal += not different
        self.most = max(self.most, len(places))
        self.phases.update(place.partition(",")[0] for place in places)
        verdict = f"DIFFERENT: {'; '.join(different)}" if different else "equal"
        print(f"{command.name} trial {self.trials}: {' | '.join(places)}: {verdict}", flush=True)


def run_killed(
    command: Command,
    place: Place,
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
        if not process.ends_within(rng.uniform(0, length) if len(places) < kills else LIMIT):
            if aimed:
                _wait_for_writing(process, out)
            process.kill()
        # It may have come to its end in the same moment.
        if process.code == 0:
            return places
        if process.code != -9:
            raise RuntimeError(f"{command.name} failed: {process.output()}")
        places.append(_writing(_hidden(out) - hidden) or place(out))


def _wait_for_writing(process: Process, out: Path) -> None:
    before = _hidden(out)
    while process.code is None and _hidden(out) <= before:
        time.sleep(0.0005)


def _hidden(out: Path) -> set[str]:
    """Names of temporary files: of one at work or, after it was killed, cut off."""
    return {path.name for path in out.glob(".*") if path.name != ".lock"}


def _writing(temporary: set[str]) -> str:
    """Name the file whose writing was cut off: `.NAME-RANDOM.SUFFIX` was to become it."""
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


def settings(*values: str) -> list[str]:
    """Return settings as words of a command line."""
    return [part for value in values for part in ("--set", value)]


def commands(base: Path) -> dict[Command, Place]:
    """Return the commands, each of which needs what those before it made in `base`."""
    faces, teacher = base / "faces", base / "train" / "best.safetensors"
    augmentation = (
        "data.augmentation={shift: 0.1, rotation: 15, brightness: 0.3, contrast: 0.3, "
        "occlusion: 0.3, grayscale: 0.2, blur: 0.3, downscale: 0.3, jpeg: 0.3}"
    )
    common = [f"data.train={faces}", augmentation, *NETWORK]
    taught = [f"teacher.bank={base / 'embed'}", "teacher.view=clean"]
    embed = ("embed", "--teacher", str(teacher), "--data", str(faces))
    return {
        Command("train", ("train", "arcface", *settings(*common))): _place_of_run,
        Command("embed", embed): _place_of_embed,
        Command("distill", ("distill", "fcd", *settings(*common, *taught))): _place_of_run,
    }


def prepare(base: Path) -> None:
    """Draw the faces and pack them."""
    run_unbroken(Command("prepare", ("prepare", FACES, "--pack")), base / "faces")


def try_kills(
    command: Command,
    place: Place,
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
            most_now = min(kills, most)
            places = run_killed(command, place, out, tally.unbroken, most_now, aimed, rng)
            # One that ended before its time has come is another unbroken one.
            tally.add(command, places, differences(out, base / command.name))
            kills -= len(places)
            progress.advance(task, len(places))
            shutil.rmtree(out)
            out.with_name(f"{out.name}.log").unlink()


def table_of_kills(tallies: dict[str, Tally]) -> str:
    """Return the counts as Markdown."""
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
    """Run all and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="SIGKILL, per command")
    parser.add_argument("--aimed", type=int, default=10, help="more of them, while it writes")
    parser.add_argument("--most", type=int, default=3, help="kills in one trial")
    parser.add_argument("--stops", type=int, default=20, help="SIGTERM and SIGHUP, per command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", nargs="+", help="names of commands")
    arguments = parser.parse_args()
    preload()
    rng = np.random.default_rng(arguments.seed)
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        base = Path(folder)
        prepare(base)
        for command, place in commands(base).items():
            length = run_unbroken(command, base / command.name)
            print(f"{command.name}: {length:.1f} s unbroken", flush=True)
            if arguments.only and command.name not in arguments.only:
                continue
            tally = tallies[command.name] = Tally(length)
            for kills, aimed in ((arguments.kills, False), (arguments.aimed, True)):
                try_kills(command, place, base, tally, kills, arguments.most, aimed, rng)
        wanted = stopped_commands(base, settings(*NETWORK))
        stops = {
            command.name: try_stops(command, says, base, arguments.stops, rng)
            for command, says in wanted.items()
            if not arguments.only or command.name in arguments.only
        }
    print(table_of_kills(tallies), table_of_stops(stops), sep="\n\n")
    different = any(tally.equal < tally.trials for tally in tallies.values())
    sys.exit(different or any(each.wrong for each in stops.values()))


if __name__ == "__main__":
    main()
