import sys
from pathlib import Path

# Fakes must be importable by name in other processes, so they are a plain module.
sys.path.insert(0, str(Path(__file__).parent))
