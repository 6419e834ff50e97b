"""The command for more than one machine."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.arguments import AsJson
from trtforge.cli.output import result

FORMS = ("table", "json", "github", "gitlab")


def matrix(
    fleet: Annotated[Path, typer.Argument(help="FLEET.yaml: models, precisions, devices.")],
    form: Annotated[str, typer.Option("--format", help="table, json, github or gitlab.")] = "table",
    out: Annotated[
        Optional[Path], typer.Option("-o", "--out", help="File to write, in place of stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a fleet into CI jobs: one prepares, one for each model and device builds, checks and
    uploads.

    Run it in the root of the repository: paths are written as seen from there.

    Example: trtforge matrix fleet.yaml --format github -o .github/workflows/engines.yml
    """
    import json

    from trtforge import outfile, parse, present
    from trtforge.fleet import github, gitlab, listing, schema
    from trtforge.fleet.plan import plan

    form = "json" if as_json else parse.one_of(form, FORMS, "--format")
    if out:
        outfile.check(out, fleet)
    found = plan(schema.load(fleet))
    written = [
        f"Written by `trtforge matrix {fleet} --format {form}`: change {fleet.name}, not this file.",
        *listing.remarks(found),
    ]
    if form == "github":
        text = github.workflow(found, written)
    elif form == "gitlab":
        text = gitlab.pipeline(found, written)
    else:
        text = json.dumps(listing.document(found)) if form == "json" else listing.table(found)
    if form in ("github", "gitlab"):
        for remark in listing.remarks(found):
            present.note(remark)
    if out:
        outfile.write_text(out, text.rstrip("\n") + "\n")
        text = (
            f"{out}: {len(found.jobs)} jobs, {sum(len(job.bundles) for job in found.jobs)} bundles"
        )
        result(as_json, {"file": str(out)}, text)
    else:
        print(text.rstrip("\n"))
