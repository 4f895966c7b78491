"""The only place, with datasets and hooks, that knows Kedro."""
