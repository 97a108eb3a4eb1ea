"""The studies behind docs/results.md: how they are run, measured, compared and drawn.

Each has a folder: `design.md`, written before its runs; `comparison.yaml`, what is trained;
`study.yaml`, what is compared; `result.json`, the figures of every seed and what follows.

    sh studies/run.sh NAME LAST_SEED RUNS       train; resumed by giving it again
    python -m studies.measure NAME RUNS ...     measure what is finished, write result.json
    python -m studies.page NAME                 print the table, draw the figure
    make studies-check                          are claims and page those of result.json?
"""
