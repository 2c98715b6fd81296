"""The audit: claims checked by behavior, triggers recovered, disguised weights undone."""
