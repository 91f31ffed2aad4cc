"""Alerts: rules, what they make of measurements, and the states that follow."""
