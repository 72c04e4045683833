"""Hypothesis for every test: the same examples on every run, and no failure because the machine is busy."""

import hypothesis

hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")
