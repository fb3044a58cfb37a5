"""nbgrader's execution of a submission, contained; a graded cell counts when a check of the teacher's said so."""

import ast
import asyncio
import contextlib
import re
import secrets
import textwrap
import time
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade
from traitlets import Int

from containment import MEGABYTE, ContainedKernelManager
from told import tell

#: Characters of all output of a notebook, pictures included; what comes after them is dropped.
MOST_OUTPUT = 32 * MEGABYTE
#: Before a graded cell: the teacher's checks are read again, and get the word that proves that they have ended.
FRESH = (
    "import sys; [sys.modules.pop(name, None) for name in ('checks', 'checking')]; sys.path.insert(0, '/given'); "
    "import checking; checking.receipt = {receipt!r}\n"
)
#: The line of a hidden test that stands for the seed of whoever handed in.
SEED = "seed = 0  # the grader writes the seed of whoever handed in here"
#: What could change a cell before it runs; compared with how it was before the first cell.
HOOKS = (
    "(lambda s: [repr(f).split(' at 0x')[0] for f in (*s.input_transformers_cleanup, *s.input_transformers_post, "
    "*s.ast_transformers, *s.events.callbacks['pre_run_cell'], *s.events.callbacks['pre_execute'], s.transform_cell, "
    "s.run_cell_async, s.run_ast_nodes, s.showtraceback)])(__import__('IPython').get_ipython())"
)


#: What only a mistake of ours can say of the teacher's files.
OURS = re.compile(r"No module named '(?:checking|checks)'")


class Contained(Execute):
    """Runs a submission; whatever it does, its remaining cells count as failed and no more."""

    seconds = Int(300, help="Seconds for a whole notebook; `timeout` is for one cell.").tag(config=True)

    def __init__(self, **settings: Any) -> None:
        super().__init__(kernel_manager_class=ContainedKernelManager, shutdown_kernel="immediate", **settings)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any], km: Any = None) -> tuple[NotebookNode, Any]:
        """Runs a notebook."""
        deadline = time.monotonic() + self.seconds
        self.timeout_func = lambda cell: max(min(self.timeout, int(deadline - time.monotonic())), 1)
        self.stopped, self.received, self.hooks, self.seed = "", 0, "", seed_of(nb, resources)
        return super().preprocess(nb, resources, km)

    def preprocess_cell(self, cell: NotebookNode, resources: dict[str, Any], index: int) -> tuple[NotebookNode, Any]:
        """Runs a cell, unless the kernel is gone."""
        if cell.cell_type != "code":
            return cell, resources
        graded, source, receipt = is_grade(cell), cell.source, secrets.token_hex(8)
        try:
            self.hooks = self.hooks or self._hooks()
            if self.stopped or (graded and self._hooks() != self.hooks):
                what = self.stopped or "the notebook changes how cells are run: a person must look at it"
                cell.outputs = [error("Stopped", what)]
            else:
                line = SEED.replace("0", str(self.seed), 1)
                cell.source = (FRESH.format(receipt=receipt) if graded else "") + source.replace(SEED, line)
                cell, resources = super().preprocess_cell(cell, resources, index)
                cell.outputs = verdict(cell.outputs, receipt) if graded else cell.outputs
        except (DeadKernelError, CellTimeoutError, asyncio.CancelledError) as problem:
            if self.km.machine and not self.km.ended_by:
                raise RuntimeError(f"nothing is marked: {self.km.machine}") from problem
            why = self.km.ended_by or type(problem).__name__
            self.stopped = f"the program was ended: {why}"
            cell.outputs = [error("Stopped", self.stopped)]
        if graded and cell.outputs and cell.outputs[-1].get("ename") == "Stopped":
            tell(self.nb, self.log, cell.outputs[-1].evalue)
        cell.source = source
        return cell, resources

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Takes what the kernel sends, as long as it is not too much."""
        self.received += len(str(msg["content"]))
        if self.received > MOST_OUTPUT and msg["msg_type"] != "status":
            return None
        return super().process_message(msg, cell, cell_index)

    def _hooks(self) -> str:
        reply = self.wait_for_reply(self.kc.execute("", silent=True, user_expressions={"hooks": HOOKS}))
        return str(((reply or {}).get("content", {}).get("user_expressions") or {}).get("hooks", {}).get("data", "?"))


def verdict(outputs: list[NotebookNode], receipt: str) -> list[NotebookNode]:
    """What counts of a graded cell's outputs: the error, or the check's word, or that there was no word.

    Raises:
        RuntimeError: A check itself is broken.
    """
    errors = [o for o in outputs if o.output_type == "error"]
    if errors and (errors[0].ename == "CheckBroken" or OURS.search(errors[0].evalue)):
        raise RuntimeError(f"a check is broken, so nothing is marked: {errors[0].evalue}")
    if errors:
        return [error(errors[0].ename, errors[0].evalue)]
    said = [o for o in outputs if o.get("metadata", {}).get("receipt") == receipt]
    return said[-1:] or [error("Unproven", "no check said that this is right")]


def error(name: str, message: str) -> NotebookNode:
    """An error output that shows its message and none of the check's code."""
    text = message[:600]
    shown = f"✗ {text}" if name == "CheckFailed" else f"{name}: {text}"
    return new_output("error", ename=name, evalue=text, traceback=[textwrap.fill(shown, 105)])


def seed_of(nb: NotebookNode, resources: dict[str, Any]) -> int:
    """The seed that the notebook shows: from the name in its cell `me = "…"` and the course's number."""
    from checking import plain, variant

    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "code")
    me = re.search(r"^me = (['\"].*?['\"])\s*(?:#.*)?$", text, re.MULTILINE)
    course = re.search(r"^course = (\d+)$", text, re.MULTILINE)
    name, student, theirs = str(ast.literal_eval(me[1])) if me else "", resources["nbgrader"]["student"], set()
    with contextlib.suppress(MissingEntry), Gradebook(resources["nbgrader"]["db_url"]) as book:
        known = book.find_student(student)
        theirs = {plain(f"{known.first_name}{known.last_name}"), plain(f"{known.last_name}{known.first_name}")}
    if plain(name) not in {plain(student), *theirs}:
        tell(nb, None, f"gives the name {name!r} and was handed in by {student}: is it their own?")
    return variant(name, int(course[1]) if course else 1)
