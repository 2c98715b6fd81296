"""The DIT adapter: load, save, calibrate, and describe finetunes with it."""

from diffspeak.adapters.calibration import (
    Calibration,
    Calibrations,
    Counted,
    calibrate,
    check_enough,
    save_calibrations,
)
from diffspeak.adapters.describe import NOTHING_FOUND, Description, Interpreter
from diffspeak.adapters.saved import (
    NOTHING_TAUGHT,
    Adapter,
    adopt,
    is_adapter,
    load_adapter,
    save_adapter,
)

__all__ = [
    "Adapter",
    "Calibration",
    "Calibrations",
    "Counted",
    "Description",
    "Interpreter",
    "NOTHING_FOUND",
    "NOTHING_TAUGHT",
    "adopt",
    "calibrate",
    "check_enough",
    "is_adapter",
    "load_adapter",
    "save_adapter",
    "save_calibrations",
]
