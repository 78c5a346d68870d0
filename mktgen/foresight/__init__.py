"""What is to come: demand by category, customers who may leave, and the words for why."""
