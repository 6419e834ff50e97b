"""What `trtforge --help` costs beside a bare typer app with the same commands.

    python benchmarks/startup.py [RUNS]

The two are started in turn, so that whatever else the machine does hits both alike; medians are
compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

LIMIT = 1.25

BARE = """
import typer
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for name in {names!r}:
    app.command(name)(lambda: None)
app()
"""


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    from trtforge.cli import app

    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    bare = [sys.executable, "-c", BARE.format(names=names), "--help"]
    ours = [sys.executable, "-m", "trtforge", "--help"]
    pairs = [(seconds(bare), seconds(ours)) for _ in range(runs)]
    bare_s, ours_s = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(
        f"bare typer {bare_s * 1000:.0f} ms, trtforge {ours_s * 1000:.0f} ms: {ours_s / bare_s:.2f} times ({LIMIT})"
    )
    return 0 if ours_s <= LIMIT * bare_s else 4


if __name__ == "__main__":
    sys.exit(main())
