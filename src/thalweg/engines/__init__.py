"""Who runs a rule: torch operations (plain) or one compiled sweep over memory (fused)."""
