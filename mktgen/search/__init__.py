"""Which settings a model should learn with: tried on past weeks, compared with today's, kept in MLflow. No part of the loop.

space      what may be set for a kind, and from where to where
folds      rolling cuts before the training cut; what is learned from and judged on at each
learning   one model, one fold: in a process of its own, kept on S3 under what made it
measures   what a model is judged by, and intervals of it over the folds
study      the search: TPE proposes, the median prunes, today's settings go first
comparison kinds against kinds on the same folds, without a search
reporting  both in words and as MLflow runs
"""
