"""Clients with little overhead of their own, one for each kind of door."""
