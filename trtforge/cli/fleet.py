"""The command that plans the CI jobs of a fleet."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.expand import plain_command
from trtforge.cli.output import AsJson, show

FORMS = ("table", "json", "github", "gitlab")


@plain_command
def matrix(
    fleet: Annotated[Path, typer.Argument(help="FLEET.yaml: models, precisions, devices.")],
    form: Annotated[str, typer.Option("--format", help="table, json, github or gitlab.")] = "table",
    out: Annotated[
        Optional[Path], typer.Option("-o", "--out", help="File to write, in place of stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the CI jobs that build and check every model of a fleet on every device.

    One job prepares all models. One job for each model and device then builds, checks and uploads.
    Run the command in the root of the repository: the jobs' paths are relative to that folder.

    Example: trtforge matrix fleet.yaml --format github -o .github/workflows/engines.yml
    """
    import json

    from trtforge import outfile, present
    from trtforge.fleet import github, gitlab, listing, schema
    from trtforge.fleet.plan import plan
    from trtforge.options.values import parse_choice

    form = "json" if as_json else parse_choice(form, FORMS, "--format")
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
        bundles = sum(len(job.bundles) for job in found.jobs)
        show(
            as_json,
            {"file": str(out)},
            lambda: f"{out}: {len(found.jobs)} jobs, {bundles} bundles",
        )
    else:
        print(text.rstrip("\n"))
