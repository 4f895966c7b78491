"""How the environments of `conf/` are read: one is one ledger, called what its folder is called.

Kedro's own loader, with three rules more. A new ledger is then two files, `catalog.yml` and `parameters_ledger.yml`.

* `ledger_name`, under which everything a run writes is kept, is the environment's name unless its `globals.yml` states
  another: the resolver `${environment:<name for base and local>}`.
* What `--params` said is known as a whole: the resolver `${stated_params:}`, `{"a.b": value}`, but for what names
  a person. Results name the command that they come from.
* A ledger inherits nothing from another one: where an environment says which column is what, the `ledger` block of
  `base` is dropped as a whole before the two are merged. An environment that only overrides single keys of it (such as
  `test`) is merged key by key, as every other block is.
"""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf

from panther_pipeline.parameters import flatten, public

LEDGER = "ledger"
_STATES_A_LEDGER = "ledger.schema.user_id"  # no ledger is without users, and no override of single keys needs it


class LedgerConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with the environment and what was stated as resolvers, and ledgers that inherit nothing."""

    def __getitem__(self, key: str) -> dict[str, Any]:
        # Resolvers are shared by the whole process: another loader may have registered its own since.
        OmegaConf.register_new_resolver("environment", self._environment_name, replace=True)
        OmegaConf.register_new_resolver("stated_params", lambda: flatten(public(self.runtime_params)), replace=True)
        self._register_globals_resolver()
        return super().__getitem__(key)

    def _read_raw_config(self, key: str) -> tuple[dict[Path, DictConfig], dict[Path, DictConfig], str, str, set[Path]]:
        base_configs, env_configs, *rest = super()._read_raw_config(key)
        if key == "parameters" and any(_states_a_ledger(config) for config in env_configs.values()):
            for config in base_configs.values():
                config.pop(LEDGER, None)
        return base_configs, env_configs, *rest

    def _environment_name(self, otherwise: str) -> str:
        """The environment of this run; `otherwise` for base and local, which are no ledgers of their own."""
        env = self.env or self.default_run_env
        return otherwise if env in ("", self.base_env, self.default_run_env) else env


def _states_a_ledger(config: DictConfig) -> bool:
    return OmegaConf.select(config, _STATES_A_LEDGER) is not None
