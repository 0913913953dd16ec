"""THE ONE SCHEMA: what is measured, what came of it, what a run set out to do. Imports none of the others."""
