"""Answers from models: a sampler takes chats and returns n answers to each."""

from alignkit.generation._sampler import Chat, Message, Sampler
from alignkit.generation.transformers import TransformersSampler

__all__ = ["Chat", "Message", "Sampler", "TransformersSampler"]
