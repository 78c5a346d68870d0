"""What a policy would have earned, from a log of another's decisions with their propensities; a gate before launch.

logged: the log and one policy to judge, checked. estimators: the value, each a small function. tuning: their dials set by
the log itself. reward_model: expected rewards, cross-fitted. intervals: standard errors and bounds by customer.
diagnostics: what the weights say, and the refusals. gate: candidate against incumbent on the same log.
"""
