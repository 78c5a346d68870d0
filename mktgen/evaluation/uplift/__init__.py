"""How well customers were put in order by the effect of an offer: on held-out trials, with intervals."""
