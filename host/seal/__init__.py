"""Seal and verification: which parts a bundle was calibrated with, whether these are they and still what they were."""
