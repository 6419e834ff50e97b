"""Print a plan for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trtforge import present
from trtforge.fleet.plan import Job, Plan
from trtforge.fleet.schema import HOSTED


def document(plan: Plan) -> dict[str, Any]:
    """Return the whole plan as a JSON document."""
    jobs = [asdict(job) | {"reports": job.reports, "made": job.made} for job in plan.jobs]
    return asdict(plan) | {"install": plan.install_command, "jobs": jobs}


def table(plan: Plan) -> str:
    """Return a line for each bundle, then a line for each engine that is not built, and why."""
    rows = [
        [
            job.id,
            " ".join(job.runs_on) or HOSTED,
            job.backend,
            bundle.precision,
            bundle.batch or "",
            bundle.folder,
            _checks(job),
        ]
        for job in plan.jobs
        for bundle in job.bundles
    ]
    header = ["job", "runner", "backend", "precision", "batch", "bundle", "checks"]
    counts = f"{len(plan.prepare)} folders to prepare, {len(plan.jobs)} jobs, {len(rows)} bundles"
    lines = [f"{plan.name}: {counts}", "", present.table(rows, header)]
    if plan.skipped:
        lines += ["", "not built:", *(f"  {reason}" for reason in plan.skipped)]
    return "\n".join(lines)


def remarks(plan: Plan) -> list[str]:
    """Return the engines that are not built, and why."""
    return [f"not built: {reason}" for reason in plan.skipped]


def _checks(job: Job) -> str:
    phases = {"lint": job.lint, "verify": job.verify, "bench": job.bench}
    return ", ".join(name for name, lines in phases.items() if lines)
