"""Exchange between the processes of one run: collective calls, made by all of them alike."""

from __future__ import annotations

import torch
from accelerate import Accelerator


def any_of(accelerator: Accelerator, *answers: bool) -> list[bool]:
    """Return whether any process answers yes, of each question: all then act at the same step."""
    if accelerator.num_processes == 1:
        return list(answers)
    votes = torch.tensor(answers, dtype=torch.float32, device=accelerator.device)
    return [bool(vote > 0) for vote in accelerator.reduce(votes)]


def least_of(accelerator: Accelerator, number: int) -> int:
    """Return the least of the numbers that the processes give."""
    if accelerator.num_processes == 1:
        return number
    return int(accelerator.gather(torch.tensor([number], device=accelerator.device)).min())


def gather_rows(accelerator: Accelerator, rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in the order of the whole batch.

    Args:
        accelerator: Of the run.
        rows: This process's share, (n, ...); n may differ where corrupt images were left out.
    """
    if accelerator.num_processes == 1:
        return rows
    counts = accelerator.gather(torch.tensor([len(rows)], device=rows.device))
    padded = accelerator.pad_across_processes(rows)
    shares = accelerator.gather(padded).chunk(accelerator.num_processes)
    return torch.cat([s[:n] for s, n in zip(shares, counts.tolist(), strict=True)])
