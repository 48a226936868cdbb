"""A sweep at work: points handed to processes of this machine or to a Ray cluster, and what is shown meanwhile."""
