"""Marketing strategies from a shop's data, every day, as a closed loop.

    collect -> clean -> features -> models -> strategy -> evaluation -> execution -> feedback
       ^                               ^                                                |
       |                               +---------------- retraining --------------------+
       +--------------------------------- the next day ---------------------------------+

`pipeline.py` is the ordered table of steps; read it first.

partition: one business day. step: one task of the loop. artefact: a typed table or document on S3. contract: its schema.
manifest: the proof that it is complete. action: (offer, items, channel, time) or no-contact. decision: an action drawn
for a customer, with its propensity. strategy: a day's campaigns and decisions. policy: the rule that draws decisions.
champion/challenger: model aliases in MLflow. gate: a check that can stop the line. holdout: customers left alone, to
measure against.
"""

__version__ = "0.1.0"
