"""The jobs: talk, animate, edit."""
