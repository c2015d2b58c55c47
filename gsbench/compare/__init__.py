"""Compares two sessions: their cases, intervals of ratios, and conditions to be met."""
