"""`kedro ledger draft`: from a file that nobody has described to an environment that runs."""

import functools
from pathlib import Path
from typing import Any

import click

from panther_pipeline.errors import PantherError
from panther_pipeline.ledger.draft import Draft, draft_ledger, save_draft

_SHOWN_KEYS = (
    "user_id",
    "event_id",
    "event_time",
    "tie_break",
    "amount",
    "counterparty",
    "label",
    "forbidden",
    "missing",
)


def _in_a_sentence(command: Any) -> Any:
    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (PantherError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return guarded


@click.group()
def ledger() -> None:
    """Describe a ledger: which file, which column is what."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the environment, written to conf/NAME.")
@click.option("--users-file", type=click.Path(path_type=Path), help="A table of users, one row each.")
@click.option("--force", is_flag=True, help="Write over an environment of this name.")
@_in_a_sentence
def draft(file: Path, name: str, users_file: Path | None, force: bool) -> None:
    """Look at FILE and propose an environment for it: conf/NAME/catalog.yml and parameters_ledger.yml.

    Reads a part of FILE (CSV or other delimited text, plain or gzip; Parquet; Excel). What it is not sure of is marked.
    """
    root = Path.cwd()
    drafted = draft_ledger(file, name=name, users_file=users_file, root=root)
    folder = save_draft(drafted, root / "conf", overwrite=force)
    click.echo(summary(drafted, folder.relative_to(root)))


def summary(drafted: Draft, folder: Path) -> str:
    """What is proposed, what is unsure, what to run next."""
    sample, proposal = drafted.samples[0], drafted.proposal
    part = "all of it" if sample.is_whole else "a part of it"
    lines = [f"{sample.path.name}: {sample.rows.height:,} rows read ({part}), {len(sample.columns)} columns."]
    values = proposal.schema_values()
    lines += [f"  {key:<13} {_short(values[key])}" for key in _SHOWN_KEYS]
    lines.append(f"  {'attributes':<13} {', '.join(a['name'] for a in values['attributes']) or 'none'}")
    lines.append(f"  {'profiles':<13} {_short(values['profiles'] and values['profiles']['user_id'])}")
    lines.append(f"  {'splits':<13} {_short(proposal.splits.value)}")
    lines.append(f"  {'token':<13} {' | '.join(field['name'] for field in proposal.fields.value)}")
    if proposal.share_readable is not None:
        faults = ", ".join(f"{reason} {share:.2%}" for reason, share in proposal.faults.items())
        lines.append(
            f"Read as proposed, {proposal.share_readable:.2%} of these rows are events"
            + (f" ({faults})." if faults else ".")
        )
    if drafted.unsure:
        lines += ["", "Not sure, please look:", *(f"  {key}: {note}" for key, note in drafted.unsure)]
    lines += ["", f"Written: {folder / 'catalog.yml'}, {folder / 'parameters_ledger.yml'}."]
    if not drafted.is_complete:
        lines.append("It cannot run yet: state the columns marked CHOOSE_A_COLUMN first.")
    lines += [
        "Next:",
        f"  kedro run --env={drafted.name} --pipelines=ingest,validate",
        f"  open data/08_reporting/{drafted.name}/validation.html",
        f"  kedro run --env={drafted.name} --pipelines=tokenize",
        f"  kedro run --env={drafted.name}",
    ]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_short(part)}" for key, part in value.items() if part is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
