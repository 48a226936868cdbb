"""The mask in front of the sensor: printed (its identity comes from the bundle) or a phase image on an SLM."""
