"""Public data sets that the shipped configs read: where they come from and how they are laid out."""

from .bccd import BCCD
from .fetching import DataSet, fetch, find_finished
from .hippocampus import HIPPOCAMPUS
from .isbi import ISBI
from .lspet import LSPET
from .source import Source, SourceError

SOURCES = {source.name: source for source in (BCCD, LSPET, ISBI, HIPPOCAMPUS)}

__all__ = ['SOURCES', 'DataSet', 'Source', 'SourceError', 'fetch', 'find_finished']
