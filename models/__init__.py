"""Models that read codes (detector, presence) and attackers that measure leakage. Pure: arrays in, arrays out."""
