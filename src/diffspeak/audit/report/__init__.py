"""Pages of audits: one for each finetune, and an overview of many."""

from diffspeak.audit.report.pages import write_audit, write_overview

__all__ = ["write_audit", "write_overview"]
