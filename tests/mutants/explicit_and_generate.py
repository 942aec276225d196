"""A pytest plugin (``-p``): Hypothesis does not shrink. Whether a slip is noticed needs no smallest example, and the
histories of tests/lua/test_model.py shrink for minutes.
"""

from hypothesis import Phase, settings

settings.register_profile("explicit and generate", phases=(Phase.explicit, Phase.generate))
settings.load_profile("explicit and generate")
