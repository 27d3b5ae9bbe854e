"""The 3D autoencoder: network, training, latents and densities back from them.

Imports densities and below.
"""
