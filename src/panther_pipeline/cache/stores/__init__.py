"""Where the records of users and counterparties live: LMDB for one machine, Redis for several."""
