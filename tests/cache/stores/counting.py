"""Two records that count together, which every test of the stores and their child processes change."""

PAIR = [("user", "a"), ("counterparty", "b")]


def plus_one(before: dict) -> dict:
    return {key: b"%d" % (int(record or b"0") + 1) for key, record in before.items()}


def replay(store, row: bytes) -> None:
    store.update(PAIR, plus_one, row)


def pair_of(value: bytes) -> list:
    return [(key, value) for key in PAIR]
