"""alignkit: LLM alignment training in which every objective is exactly its paper's mathematics."""

__version__ = "0.1.0"
