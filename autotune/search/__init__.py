"""Who proposes trials and who stops them early: tuner, samplers, pruners."""
