"""Structured tokenization: attributes are discretised, their combination is the token (PANTHER §3.2)."""

from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import FieldConfig, TokenizerKind, VocabularyConfig
from panther_pipeline.tokenizer.coverage import measure_coverage, tabulate_vocabulary
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import WILDCARD, EncodedEvents, Tokenizer
from panther_pipeline.tokenizer.vocabulary import PAD_ID, UNK_ID

__all__ = [
    "PAD_ID",
    "UNK_ID",
    "WILDCARD",
    "EncodedEvents",
    "FieldConfig",
    "TokenSequences",
    "Tokenizer",
    "TokenizerKind",
    "VocabularyConfig",
    "build_sequences",
    "measure_coverage",
    "tabulate_vocabulary",
]
