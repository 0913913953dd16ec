"""Figures in words: verdict, warnings, units."""
