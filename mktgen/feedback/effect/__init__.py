"""What a campaign did, said only where the data can bear it.

sample       who was in which arm, what followed, what was known before
estimate     a number with its standard error, degrees of freedom and each customer's share in it
linear       regression on treatment and covariates, errors clustered by customer; the interacted form for several arms
lift         against a holdout drawn at random: with pre-period covariates, relative, what it could have shown
roi          incremental margin over cost
crossfit     who would have been mailed, and what would have been bought: predictions for customers left out of the fit
observed     effects on campaigns that nobody randomised: doubly robust and overlap-weighted
diagnostics  balance, overlap, ratio of the arms, contamination
assess       all of it for one campaign, and the verdict: reported, or refused with reasons
"""
