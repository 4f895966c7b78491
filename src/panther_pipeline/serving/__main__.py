"""`python -m panther_pipeline.serving`: score transactions over HTTP with what a run left in its data folder."""

import gc
import os
import sys
from pathlib import Path

import click

from panther_pipeline.cards.log_records import mask_process_output
from panther_pipeline.errors import ConfigurationError, PantherError
from panther_pipeline.online.artifacts import ScorerArtifacts
from panther_pipeline.publish import digest_ahead

_PATH = click.Path(path_type=Path)
_SWITCH_INTERVAL_S = 0.00005  # Python's own would let the digest wait 5 ms for each of its parts


@click.command()
@click.option("--data", type=_PATH, default=Path("data"), show_default=True, help="The data folder of the project.")
@click.option("--ledger", help="Whose run; by default the one ledger that has an online store.")
@click.option("--backbone", type=_PATH, help="In place of the one in the data folder; likewise:")
@click.option("--tokenizer", type=_PATH)
@click.option("--head", type=_PATH)
@click.option("--store", type=_PATH)
@click.option("--settings", default="{}", help="serving.* as JSON (conf/base/parameters/serving.yml).")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="0 = any free one, which the log names.")
@click.option("--publish", is_flag=True, help="Copy the run's online store into the Redis of serving.store, and end.")
def main(
    data: Path,
    ledger: str | None,
    settings: str,
    host: str | None,
    port: int | None,
    publish: bool,
    **paths: Path | None,
) -> None:
    """Serve until SIGTERM."""
    mask_process_output()
    try:
        artifacts = find_artifacts(data, ledger, paths)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        if not publish:
            gc.disable()  # until all is loaded, which stays: to look through it takes a tenth of the start
            if '"redis"' not in settings:  # which are read below: a wrong guess costs nothing but time
                digest_ahead(artifacts.store)
        # Imported while the digest of the store is computed.
        from panther_pipeline.online.load import ScorerLoader
        from panther_pipeline.serving.config import read_settings
        from panther_pipeline.serving.server import serve
        from panther_pipeline.serving.store import find_source, publish_store

        config = read_settings(settings, host, port)
        sys.setswitchinterval(config.switch_interval_s)
        if publish:
            click.echo(publish_store(config.store, artifacts))
            return
        use_one_thread()
        serve(ScorerLoader(artifacts, find_source(config.store, artifacts)), config)
    except PantherError as error:
        raise click.ClickException(str(error)) from error
    finally:
        gc.enable()


def use_one_thread() -> None:
    """One thread scores, and the threads of a product of matrices would wait for each other."""
    from threadpoolctl import threadpool_limits  # imported while the digest is computed

    threadpool_limits(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of torch, which is imported later


def find_artifacts(data: Path, ledger: str | None, paths: dict[str, Path | None]) -> ScorerArtifacts:
    """Where the parts of the scorer lie.

    Args:
        data: the data folder.
        ledger: whose run; None = the only one with an online store.
        paths: of single parts, in place of those of the run.

    Raises:
        ConfigurationError: no ledger, or several, with an online store; names them.
    """
    given = {name: path for name, path in paths.items() if path is not None}
    if len(given) == len(ScorerArtifacts.__dataclass_fields__):
        return ScorerArtifacts(**given)
    if ledger is None:
        ledgers = sorted(path.parent.parent.name for path in data.glob("07_model_output/*/online_store/manifest.json"))
        if len(ledgers) != 1:
            found = f"{', '.join(ledgers)} have one: choose with --ledger" if ledgers else "run `kedro run` first"
            raise ConfigurationError(f"{data} must hold the online store of one ledger; {found}.")
        ledger = ledgers[0]
    return ScorerArtifacts(**{**vars(ScorerArtifacts.of_ledger(data, ledger)), **given})


if __name__ == "__main__":
    main()
