"""The `nformer` command: parse, call, show. It never computes."""
