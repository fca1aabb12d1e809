"""`polytrain report`: what a run wrote, as one HTML page that needs nothing but itself.

Belongs here: reading run folders and drawing them. Does not belong here: anything that writes into a run.

    launch.report.command   the arguments, and the file
    launch.report.runs      what a run folder holds
    launch.report.curves    figures over steps, and fewer points that look the same
    launch.report.charts    a figure of every run as SVG
    launch.report.sections  samples, checkpoints, recipes and the other tables
    launch.report.page      the page: template.html with report.css and report.js
    launch.report.markup    elements; text in them is escaped
"""

__all__ = ["charts", "command", "curves", "markup", "page", "runs", "sections"]
