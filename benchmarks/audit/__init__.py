"""How well the audit does on finetunes that no training and no calibration has seen."""
