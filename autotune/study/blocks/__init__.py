"""The models of study.yaml: one file for each of its blocks, and :mod:`autotune.study.blocks.study` for the whole.

They say what may be written, of which type and with which defaults; the texts below the fields are what
``autotune schema`` tells editors. Validation is pydantic's strict one: text is not a number and ``true`` is not 1.
Validators raise ``ValueError`` with a whole sentence; :mod:`autotune.study.error_messages` words everything else.
"""
