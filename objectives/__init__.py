"""The reconstruction problems that autotune tunes. Nothing here knows the tuner; see ``autotune.objective``."""
