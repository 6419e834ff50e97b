"""Write a plan as a GitLab pipeline: one job prepares, and one job a model and device builds."""

from __future__ import annotations

from typing import Any

from trtforge.fleet.plan import Job, Plan, all_of
from trtforge.fleet.yaml_text import write

IMAGE = "python:3.12"  # for jobs on GitLab's own runners
KEPT = "1 week"


def pipeline(plan: Plan, comments: list[str]) -> str:
    """Return the text of the pipeline.

    A job's name contains a dot, so it can't be one of GitLab's keywords.
    """
    hosted = {"image": IMAGE, "before_script": [plan.install_command]}
    build = {"stage": "build", "needs": ["prepare"], "timeout": f"{plan.minutes} minutes"}
    return write(
        {
            "stages": ["prepare", "build"],
            "workflow": {"rules": _rules(plan)},
            ".hosted": hosted,
            ".build": build,
            "prepare": {
                "stage": "prepare",
                "extends": ".hosted",
                "timeout": f"{plan.minutes} minutes",
                "script": [each.command for each in plan.prepare],
                "artifacts": {"paths": ["prepared/"], "expire_in": KEPT},
            },
            **{job.id: _job(job) for job in plan.jobs},
        },
        comments,
    )


def _rules(plan: Plan) -> list[dict[str, str]]:
    """Return the rules: run for pushes to the branches and by hand, not for merge requests.

    With merge requests, code from a fork would run on your devices.
    """
    sources = [{"if": f'$CI_COMMIT_BRANCH == "{branch}"'} for branch in plan.branches]
    return [
        {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"},
        *sources,
        {"if": '$CI_PIPELINE_SOURCE == "web"'},
    ]


def _job(job: Job) -> dict[str, Any]:
    where = {"tags": list(job.runs_on)} if job.runs_on else {}
    return {
        "extends": [".build"] if job.runs_on else [".hosted", ".build"],
        **where,
        "script": [*job.build, all_of([*job.lint, *job.verify, *job.bench])],
        "after_script": list(job.report),  # also after a failed gate: the report shows why
        "artifacts": {
            "name": job.id,
            "when": "always",
            "paths": [f"{job.made}/", f"{job.reports}/"],
        },
    }
