"""Optics of privacy masks: the encoding and its bundle. Pure: arrays in, arrays out."""
