"""Who gets what, and why: segments, candidates, allocation, the policy, and the document of the day."""
