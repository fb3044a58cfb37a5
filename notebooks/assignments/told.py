"""What a teacher is told of a submission: kept in the marked notebook, in the log and in the class report."""

import logging

from nbformat import NotebookNode


def tell(nb: NotebookNode, log: logging.Logger | None, text: str) -> None:
    """Notes a sentence in the notebook's metadata, once, and in the log.

    Example:
        >>> from nbformat.v4 import new_notebook
        >>> nb = new_notebook()
        >>> tell(nb, None, "a cell was repaired")
        >>> nb.metadata["told"]
        ['a cell was repaired']
    """
    known = nb.metadata.setdefault("told", [])
    if text not in known:
        known.append(text)
        if log:
            log.warning("%s", text)
