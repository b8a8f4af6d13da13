"""The application V1 Consortium runs."""
