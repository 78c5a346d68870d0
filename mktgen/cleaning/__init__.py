"""Raw rows to canonical tables. Nothing is lost: good + quarantined = read."""

from mktgen.cleaning.day import CleanDay, Inputs, clean_day
from mktgen.cleaning.rules import Cleaned, apply

__all__ = ["CleanDay", "Cleaned", "Inputs", "apply", "clean_day"]
