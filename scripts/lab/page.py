"""Tables: on the terminal, and in the document that they belong to."""
from lab.gateway import ROOT


def table(heads, rows, left=1):
    """A table in Markdown, whose first `left` columns are words and the others numbers."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * left + "---:|" * (len(heads) - left)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def write(command, text):
    """Puts it into docs/performance.md, in place of what the command wrote there before."""
    page = ROOT / "docs" / "performance.md"
    begin, end = f"<!-- written by {command} -->\n", "<!-- end -->"
    before, rest = page.read_text().split(begin, 1)
    page.write_text(before + begin + text + "\n" + end + rest.split(end, 1)[1])
