"""Answers from models: a sampler takes chats and returns n answers to each."""

from alignkit.generation._sampler import Chat, Drawing, Drawn, Message, Sampler
from alignkit.generation.transformers import ConversationTooLong, TransformersSampler

__all__ = ["Chat", "ConversationTooLong", "Drawing", "Drawn", "Message", "Sampler", "TransformersSampler"]
