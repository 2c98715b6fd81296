"""What a study will need: memory, operations, time."""
