"""Features from order lines: a state folded day by day, and what is computed from it at a cut."""

from mktgen.features.customer import customer_features
from mktgen.features.item import item_features
from mktgen.features.state import State, empty_state, fold, fold_customers, history_events
from mktgen.features.training import training_examples

__all__ = [
    "State",
    "customer_features",
    "empty_state",
    "fold",
    "fold_customers",
    "history_events",
    "item_features",
    "training_examples",
]
