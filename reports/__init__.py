"""WHAT IT MEANS: records in; statistics, charts and pages out. Never starts a runner or a server."""
