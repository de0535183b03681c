"""Benchmarks on a service of their own: `python -m loadtests.bench`. Each file in parts/ is one."""
