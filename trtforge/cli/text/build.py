"""Text for ``build`` and ``prepare``: what ran, and where it is."""

from __future__ import annotations

from trtforge import present
from trtforge.api.results import BuildResult


def summarize(result: BuildResult) -> str:
    """Return what ran and what was written; with ``--dry-run``, what would run and why."""
    return _plan(result) if result.dry_run else _done(result)


def _plan(result: BuildResult) -> str:
    rows = [[run.stage, "cached" if run.cached else "would run", run.why] for run in result.stages]
    return present.table(rows, ["stage", "", "why"])


def _done(result: BuildResult) -> str:
    rows = [
        [run.stage, "cached" if run.cached else f"{run.seconds:.1f} s", run.summary]
        for run in result.stages
    ]
    remarks = dict.fromkeys(remark for output in result.outputs for remark in output.remarks)
    lines = [present.table(rows, ["stage", "time", "result"]), ""]
    lines += [f"  {remark}" for remark in remarks]
    idle = all(run.cached for run in result.stages)
    unchanged = "  (unchanged: nothing to do)" if idle else "  (unchanged)"
    lines += [f"{output.folder}/{'' if output.written else unchanged}" for output in result.outputs]
    return "\n".join(lines)
