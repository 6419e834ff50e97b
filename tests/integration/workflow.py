"""Runs a workflow's jobs here, one after another, each in a checkout of its own: what is passed on
are artifacts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
BUILT = "!cancelled() && steps.build.conclusion == 'success'"


@dataclass
class Run:
    """What came of a workflow.

    Attributes:
        artifacts: folder with one folder for each.
        failed: names of jobs, with the step and what it printed.
        lines: commands that ran.
    """

    artifacts: Path
    failed: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def run(workflow: str, repository: Path, work: Path) -> Run:
    """Every job of a workflow that ``trtforge matrix`` wrote, in the files of ``repository``."""
    jobs = yaml.safe_load(workflow)["jobs"]
    done = Run(work / "artifacts")
    _job(jobs["prepare"], "prepare", {}, repository, work, done)
    for entry in () if done.failed else jobs["build"]["strategy"]["matrix"]["include"]:
        _job(jobs["build"], entry["id"], entry, repository, work, done)
    return done


def _job(
    job: dict[str, Any], name: str, matrix: dict[str, Any], repository: Path, work: Path, done: Run
) -> None:
    checkout = work / "checkouts" / name
    shutil.copytree(repository, checkout)
    built = False
    for step in job["steps"]:
        # What it asks beside the matrix: whether the engines were built. Without a condition:
        # whether all went well.
        condition = step.get("if", "").removeprefix("${{").removesuffix("}}").strip()
        wanted = built if BUILT in condition else name not in done.failed
        needed = re.search(r"matrix\.(\w+) != ''", condition)
        if not wanted or (needed and not matrix[needed[1]]):
            continue
        uses, given = (
            step.get("uses", ""),
            {key: _filled(value, matrix) for key, value in step.get("with", {}).items()},
        )
        if "upload-artifact" in uses:
            shutil.copytree(checkout / given["path"], done.artifacts / given["name"])
        elif "download-artifact" in uses:
            shutil.copytree(done.artifacts / given["name"], checkout / given["path"])
        elif "run" in step and step.get("name") != "Install":
            text = _filled(step["run"], matrix)
            done.lines += text.splitlines()
            result = _shell(
                text,
                checkout,
                {key: _filled(value, matrix) for key, value in step.get("env", {}).items()},
            )
            if result.returncode:
                done.failed[name] = (
                    f"{step['name']}, {result.returncode}: {result.stdout}{result.stderr}"
                )
            built = built or (step.get("id") == "build" and not result.returncode)


def _filled(text: Any, matrix: dict[str, Any]) -> Any:
    return re.sub(r"\$\{\{ matrix\.([\w-]+) \}\}", lambda found: str(matrix[found[1]]), str(text))


def _shell(
    text: str, checkout: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """As GitHub runs a step with ``shell: bash``."""
    programs = checkout.parent / ".programs"
    if not programs.is_dir():
        programs.mkdir()
        (programs / "trtforge").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trtforge "$@"\n')
        (programs / "trtforge").chmod(0o755)
    own = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TRTFORGE_STORE": f"{checkout}.store",
        "GITHUB_STEP_SUMMARY": f"{checkout}.summary.md",
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        cwd=checkout,
        text=True,
        capture_output=True,
        check=False,
        timeout=600,
        env={**os.environ, **own, **environment},
    )
