"""The benchmark. `python -m bench --help` lists the commands; README.md explains the results."""
