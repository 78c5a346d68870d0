"""The incremental effect of each offer on each customer, learned from randomised decisions, with its uncertainty."""
