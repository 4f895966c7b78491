"""Kedro settings: how configuration is read and which hooks watch a run."""

from pathlib import Path

from panther_pipeline.cards.log_records import mask_process_output
from panther_pipeline.config_loader import LedgerConfigLoader
from panther_pipeline.hooks import GuidanceHook, TrackingHook

mask_process_output()  # here, since Kedro's logging configuration takes no class of a project

HOOKS = (TrackingHook(), GuidanceHook())

# TrackingHook is the plugin's own hook, subclassed; with both registered every run would be recorded twice.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)


def _project_root() -> str:
    """The folder that holds `conf/`: where Kedro runs, else the parent folders of this package."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "conf" / "base").is_dir():
            return folder.as_posix()
    return here.as_posix()


CONFIG_LOADER_CLASS = LedgerConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    # An environment states what differs, down to a single key.
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": {"project_root": _project_root},
}
