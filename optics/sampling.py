"""What a grid can carry: when a field or its way through space would alias, and which grid would do."""


class SamplingError(ValueError):
    """The field would alias on this grid. The message says which grid would do."""
