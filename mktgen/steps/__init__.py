"""What each step loads, which stage it calls, what it stores. `pipeline.py` is the table of them."""
