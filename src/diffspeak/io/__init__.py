"""Files written whole or not at all, remote copies, and the folder of a run."""
