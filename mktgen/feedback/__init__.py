"""Feedback: what followed our decisions and the mailings that were really sent, and whether to train again."""
