"""Behaviour that every store needs, as decorators of the port. Their order is written once, in ``chronoserve.app.compose``."""
