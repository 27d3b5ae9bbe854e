"""The web app: predictions for a dropped density, the latent database, the report. Start it with ``main.run``."""
