"""The front door for programs that embed autotune: :func:`autotune.tune` and what it returns."""
