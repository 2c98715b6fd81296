"""Pages of audits: one for each finetune, and an overview of many."""

from diffspeak.audit.report.overview import write_overview
from diffspeak.audit.report.page import write_audit

__all__ = ["write_audit", "write_overview"]
