"""A market whose true response is known: real days, and what contacts change in them. Everything it gives is SIMULATED.

    outcome = organic baskets as they were + what a contact brings - what it takes away

Nobody contacted: the days are the input, row for row. Who and what the customers are comes from `scenarios/*.yaml`, where
every assumption stands with its unit; `scenario.py` says what each means.

    copies -> visits -> panel -> respond -> effects on the rows of days
                          |
                          +----> oracle: expected profit. Only an evaluator (a test, a benchmark) imports it.

The market knows customers by its own identifiers; what they are by nature (`people.py`) never leaves it.
"""
