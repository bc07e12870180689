"""A witness of other people's ledgers, for hosts under other administrators: it cosigns one history, and no second."""
