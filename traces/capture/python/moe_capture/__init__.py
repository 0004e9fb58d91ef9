"""Records which token went to which expert, from Python. See README.md beside this package."""

from .capture import Capture
from .hooks import ModelCapture
from .model import capture_logits, capture_model

__all__ = ["Capture", "ModelCapture", "capture_logits", "capture_model"]
