"""`polytrain reproduce`: what is printed and written of a claim that was measured again (`train.reproduce`).

launch.reproduce.command  the command
launch.reproduce.page     its results as JSON, a drawing, and a page in Markdown
"""

__all__ = ["command", "page"]
