"""The figures of the README and the docs, measured where you are: `python -m benchmarks [NAME...]`, `make bench`.

    demo        seconds and memory of `expunge demo`
    stacked     many small models at once against one after another
    processes   one process per core against one process with as many threads
    rows        rows in memory against a DataLoader
    klom        one measure against its slow form
    challenge   the challenge's score against every threshold
    attacks     LiRA and RMIA against their slow forms
    one_run     the one-run audit's bounds
    whole       a whole audit from stored margins
    calibration do verdicts hold their level, and what do they see
    in_run      in-run Shapley values: a training with its ledger against the training alone
    recipes     accuracy and seconds of the named recipes
    precision   bf16 against float32 on this machine

Each file holds one of them, as a function from `Options` to figures. Both sides of a ratio are measured in the
same run, in turn, and every number of seconds is a median. On a machine that is busy, all of them are wrong.
"""
