"""One module a question: each prints ours beside a peer or a limit. Run them with `python -m benchmarks`."""
