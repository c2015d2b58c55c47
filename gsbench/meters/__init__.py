"""Meters of seconds and bytes. None of them runs while another does: a meter that slows the code spoils the clock."""
