"""The search: the tuner, samplers that propose trials, and pruners that stop them early."""
