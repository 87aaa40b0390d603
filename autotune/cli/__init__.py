"""The ``autotune`` command. Commands are thin; heavy imports happen inside them."""
