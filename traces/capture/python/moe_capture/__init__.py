"""Records which token went to which expert, from Python. See README.md beside this package."""

from .adapters import ADAPTERS
from .capture import Capture
from .hooks import ModelCapture
from .model import capture_logits, capture_model
from .readers import Adapter, Choice

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Capture",
    "Choice",
    "ModelCapture",
    "capture_logits",
    "capture_model",
]
