"""Findings for people, programs, and code scanners (SARIF 2.1.0)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from trtforge.deepstream.format.secrets import redact
from trtforge.deepstream.lint.finding import RULES, Finding
from trtforge.errors import ForgeError, GateError
from trtforge.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SECRET = ("tlt-model-key", "msg-broker-conn-str")


class FindingJson(TypedDict):
    """A finding; ``corrected`` are the lines that would take its place."""

    rule: str
    severity: str
    file: str
    line: int
    why: str
    corrected: list[str] | None


class LintJson(TypedDict):
    """The document that ``trtforge deepstream lint --format json`` prints."""

    deepstream: str
    files: list[str]
    errors: int
    warnings: int
    notes: int
    findings: list[FindingJson]
    fixed: list[FindingJson]
    unread: list[str]


@dataclass
class LintReport:
    """All findings.

    Attributes:
        deepstream: version of DeepStream that the files are for.
        files: the files that were checked.
        findings: the findings that remain.
        fixed: the findings that were corrected, by file.
        unread: files that are not a configuration, each with the reason.
    """

    deepstream: str
    files: list[Path] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    fixed: dict[Path, list[Finding]] = field(default_factory=dict)
    unread: dict[Path, ForgeError] = field(default_factory=dict)

    def count(self, severity: str) -> int:
        """Return the number of remaining findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def gate(self) -> None:
        """Refuse errors.

        Raises:
            ForgeError: a file is not a configuration.
            GateError: there is at least one error.
        """
        if self.unread:
            hints = {error.hint for error in self.unread.values()}
            raise ForgeError(
                "; ".join(error.problem for error in self.unread.values()),
                hints.pop() if len(hints) == 1 else "leave them out",
            )
        if errors := self.count("error"):
            raise GateError(
                f"{_number(errors, 'error')} in {_number(len(self.files), 'file')}",
                "--fix corrects what it can",
            )

    def render(self, form: str) -> str:
        """Return the report as ``text``, ``json`` or ``sarif``."""
        if form == "json":
            return json.dumps(self.document())
        if form == "sarif":
            return json.dumps(self.sarif())
        return self.text()

    def text(self) -> str:
        """Return lines for people: corrections, findings with corrected lines, and counts."""
        lines = []
        for path, corrected in self.fixed.items():
            rules = sorted({finding.rule for finding in corrected})
            lines.append(f"{path}: corrected {len(corrected)}: {', '.join(rules)}")
        for finding in self.findings:
            why = redact(finding.why)
            lines.append(
                f"{finding.path}:{finding.line}: {finding.severity}: {why} [{finding.rule}]"
            )
            lines += [f"    {line}" for line in mask_secrets(finding.fix or ())]
        counts = [
            _number(self.count(severity), severity)
            for severity in ("error", "warning", "note")
            if self.count(severity)
        ]
        lines.append(f"{_number(len(self.files), 'file')}: {', '.join(counts) or 'nothing found'}")
        return "\n".join(lines)

    def document(self) -> LintJson:
        """Return the JSON document."""
        return {
            "deepstream": self.deepstream,
            "files": [str(path) for path in self.files],
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "notes": self.count("note"),
            "findings": [_finding_json(finding) for finding in self.findings],
            "fixed": [_finding_json(finding) for finding in chain(*self.fixed.values())],
            "unread": [error.problem for error in self.unread.values()],
        }

    def sarif(self) -> dict[str, Any]:
        """Return the SARIF log, with one run."""
        used = sorted({finding.rule for finding in self.findings})
        rules = [
            {
                "id": rule,
                "shortDescription": {"text": RULES[rule][1]},
                "defaultConfiguration": {"level": RULES[rule][0]},
            }
            for rule in used
        ]
        driver = {"name": "trtforge deepstream lint", "version": __version__, "rules": rules}
        results = [_result(finding, used.index(finding.rule)) for finding in self.findings]
        notifications = [
            {"level": "error", "message": {"text": error.problem}} for error in self.unread.values()
        ]
        invocation = {
            "executionSuccessful": not notifications,
            "toolExecutionNotifications": notifications,
        }
        run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
        return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def mask_secrets(lines: Sequence[str]) -> list[str]:
    """Return corrected lines with secrets replaced by ``***``; only the file keeps the secrets."""
    masked = []
    for line in lines:
        key = line.strip("# ").replace(":", "=", 1).partition("=")[0].strip()
        masked.append(f"{key}=***" if key in _SECRET else redact(line))
    return masked


def _finding_json(finding: Finding) -> FindingJson:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "file": str(finding.path),
        "line": finding.line,
        "why": redact(finding.why),
        "corrected": None if finding.fix is None else mask_secrets(finding.fix),
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    where: dict[str, Any] = {
        "artifactLocation": {"uri": finding.path.as_posix()},
        "region": {"startLine": finding.line},
    }
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": redact(finding.why)},
        "locations": [{"physicalLocation": where}],
    }
    if finding.fix is not None:
        text = "".join(f"{line}\n" for line in mask_secrets(finding.fix))
        region = {
            "startLine": finding.line,
            "startColumn": 1,
            "endLine": finding.line + 1,
            "endColumn": 1,
        }
        change = {
            "artifactLocation": where["artifactLocation"],
            "replacements": [{"deletedRegion": region, "insertedContent": {"text": text}}],
        }
        result["fixes"] = [
            {"description": {"text": RULES[finding.rule][1]}, "artifactChanges": [change]}
        ]
    return result


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
