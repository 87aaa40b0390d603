"""What an evaluation leaves for people: arrays and pictures."""
