"""Messages from reviewed templates, and the checker that lets none say more than the facts."""
