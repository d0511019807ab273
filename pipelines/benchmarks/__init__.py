"""What `nformer benchmark NAME` runs: workloads, a plain dense reference, the table.

Each module here that is named in `registry.BENCHMARKS` has one function,
`measure(*, quick: bool, progress: Progress) -> Record`; its last record lies beside it as NAME.md.
"""
