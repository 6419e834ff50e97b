"""Write a plan as a workflow of GitHub Actions: one job prepares, and a matrix builds.

The entries of the matrix hold the differences between the jobs, commands included. Commands consist
of checked words and are quoted for the shell, so that no expression can change a step.
"""

from __future__ import annotations

from typing import Any

from trtforge.errors import ForgeError
from trtforge.fleet.plan import Job, Plan, all_of
from trtforge.fleet.yaml_text import write

RUNNER = "ubuntu-24.04"
PYTHON = "3.12"
MAX_JOBS = 256  # in a matrix: docs.github.com, "Usage limits"
CHECKOUT, SETUP = "actions/checkout@v4", "actions/setup-python@v5"
UPLOAD, DOWNLOAD = "actions/upload-artifact@v4", "actions/download-artifact@v4"
DAYS = 7  # to keep prepared folders: their jobs have run by then
# Run the other gates after one has failed, to report all results.
BUILT = "!cancelled() && steps.build.conclusion == 'success'"


def workflow(plan: Plan, comments: list[str]) -> str:
    """Return the text of the workflow.

    Raises:
        ForgeError: there are more jobs than a matrix may have.
    """
    if len(plan.jobs) > MAX_JOBS:
        raise ForgeError(
            f"{len(plan.jobs)} jobs: GitHub's matrix has at most {MAX_JOBS}",
            "split the fleet into two",
        )
    return write(
        {
            "name": plan.name,
            # Not on pull requests: code from a fork would run on your devices.
            "on": {"push": {"branches": list(plan.branches)}, "workflow_dispatch": {}},
            "permissions": {"contents": "read"},
            "concurrency": {
                "group": "${{ github.workflow }}-${{ github.ref }}",
                "cancel-in-progress": True,
            },
            "defaults": {"run": {"shell": "bash"}},
            "jobs": {"prepare": _prepare(plan), "build": _build(plan)},
        },
        comments,
    )


def _prepare(plan: Plan) -> dict[str, Any]:
    steps = [
        {"name": f"Prepare {each.folder.removeprefix('prepared/')}", "run": each.command}
        for each in plan.prepare
    ]
    models = dict.fromkeys(each.model for each in plan.prepare)
    passed = [_upload(f"prepared-{model}", f"prepared/{model}", days=DAYS) for model in models]
    return {
        "runs-on": RUNNER,
        "timeout-minutes": plan.minutes,
        "steps": [{"uses": CHECKOUT}, *_install(plan, {}), *steps, *passed],
    }


def _build(plan: Plan) -> dict[str, Any]:
    if_hosted = {"if": "${{ matrix.hosted }}"} if any(job.runs_on for job in plan.jobs) else {}
    built = {"if": f"${{{{ {BUILT} }}}}"}
    folder = "prepared/${{ matrix.model }}"
    return {
        "name": "${{ matrix.id }}",
        "needs": "prepare",
        "strategy": {"fail-fast": False, "matrix": {"include": [_entry(job) for job in plan.jobs]}},
        "runs-on": "${{ matrix.runs-on }}",
        "timeout-minutes": plan.minutes,
        "steps": [
            {"uses": CHECKOUT},
            *_install(plan, if_hosted),
            {"uses": DOWNLOAD, "with": {"name": "prepared-${{ matrix.model }}", "path": folder}},
            {"name": "Build", "id": "build", "run": "${{ matrix.build }}"},
            *(
                {
                    "name": phase.capitalize(),
                    "if": f"${{{{ {BUILT} && matrix.{phase} != '' }}}}",
                    "run": f"${{{{ matrix.{phase} }}}}",
                }
                for phase in ("lint", "verify", "bench", "report")
            ),
            {
                "name": "Summary",
                **built,
                "env": {"REPORTS": "${{ matrix.reports }}"},
                "run": 'cat "$REPORTS"/*/report.md >> "$GITHUB_STEP_SUMMARY"',
            },
            built | _upload("report-${{ matrix.id }}", "${{ matrix.reports }}"),
            _upload("bundle-${{ matrix.id }}", "${{ matrix.bundles }}"),
        ],
    }


def _entry(job: Job) -> dict[str, Any]:
    labels = list(job.runs_on) or [RUNNER]
    phases = {"lint": job.lint, "verify": job.verify, "bench": job.bench, "report": job.report}
    return {
        "id": job.id,
        "model": job.model,
        "device": job.device,
        "hosted": not job.runs_on,
        "runs-on": labels if len(labels) > 1 else labels[0],
        "bundles": job.made,
        "reports": job.reports,
        "build": "\n".join(job.build),
        **{name: all_of(lines) for name, lines in phases.items()},
    }


def _install(plan: Plan, condition: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"uses": SETUP, **condition, "with": {"python-version": PYTHON}},
        {"name": "Install", **condition, "run": plan.install_command},
    ]


def _upload(name: str, path: str, days: int | None = None) -> dict[str, Any]:
    return {
        "uses": UPLOAD,
        "with": {
            "name": name,
            "path": path,
            "if-no-files-found": "error",
            **({"retention-days": days} if days else {}),
        },
    }
