"""What ``python -m thesislib`` can do: a function a command."""
